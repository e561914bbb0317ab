"""What a server's processes have used."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def cpu_seconds(pids: Iterable[int]) -> float:
    """By these processes and those below them that live, since they began."""
    total = 0.0
    for process in _trees(pids):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def memory_mb(pids: Iterable[int]) -> float:
    """By all of them together; pages that they share count once where the kernel tells (PSS)."""
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
