"""What each kind of process used of the machine while something was done, PostgreSQL and Redis told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.door.usage import cpu_seconds

if TYPE_CHECKING:
    from bench.harness.platform import Platform
    from bench.harness.servers import Servers

KINDS = ("web", "recorder", "worker", "sweeper", "sandbox")


class Costs:
    """Counts CPU seconds, user and system, from the moment it is made."""

    def __init__(self, servers: Servers, platform: Platform) -> None:
        self._servers = servers
        self._platform = platform
        self._before = self._now()

    def each_1000(self, events: int) -> dict[str, float]:
        """CPU seconds a thousand events by kind of process; `ours` without the sandbox, which stands for Front."""
        now = self._now()
        used = {kind: (now[kind] - self._before[kind]) * 1000 / max(1, events) for kind in now}
        ours = sum(seconds for kind, seconds in used.items() if kind != "sandbox")
        return {kind: round(seconds, 3) for kind, seconds in {**used, "ours": ours}.items()}

    def _now(self) -> dict[str, float]:
        used = {kind: cpu_seconds(self._platform.pids(kind)) for kind in KINDS}
        servers = {"postgres": self._servers.postgres, "redis": self._servers.valkey}
        return used | {name: cpu_seconds([server.pid]) for name, server in servers.items()}
