"""The CPU and memory that processes use."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.harness.platform import Platform
    from bench.harness.servers import Servers

OUR_KINDS = ("web", "recorder", "worker", "sweeper")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time, user and system, of these processes and their descendants, also of those that have ended.

    A server has a process for each connection, and pools close connections that nobody needs.
    """
    total = 0.0
    for process in _trees(pids):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mb(pids: Iterable[int]) -> float:
    """Return the memory of all of them together; shared pages count once where the kernel tells (PSS)."""
    total = 0
    for process in _trees(pids):
        with suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.uss)
    return total / 2**20


def _trees(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            yield process
            yield from process.children(recursive=True)


class CpuByKind:
    """Counts CPU seconds of each kind of process, PostgreSQL and Redis, from the moment it is made."""

    def __init__(self, servers: Servers, platform: Platform) -> None:
        self._servers = servers
        self._platform = platform
        self._before = self._now()

    def each_1000(self, events: int) -> dict[str, float]:
        """Return CPU seconds per thousand events by kind; `ours` leaves out the sandbox, which stands for Front."""
        now = self._now()
        used = {kind: (now[kind] - self._before[kind]) * 1000 / max(1, events) for kind in now}
        ours = sum(seconds for kind, seconds in used.items() if kind != "sandbox")
        return {kind: round(seconds, 3) for kind, seconds in {**used, "ours": ours}.items()}

    def _now(self) -> dict[str, float]:
        used = {kind: cpu_seconds(self._platform.pids(kind)) for kind in (*OUR_KINDS, "sandbox")}
        servers = {"postgres": self._servers.postgres, "redis": self._servers.valkey}
        return used | {name: cpu_seconds([server.pid]) for name, server in servers.items()}
