"""How much memory each kind of process uses while webhooks come and go."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

from bench.door.usage import memory_mb

if TYPE_CHECKING:
    from bench.harness.platform import Platform

KINDS = ("web", "recorder", "worker", "sweeper")
EVERY_SECONDS = 2.0


class MemoryOverTime:
    """Looks now and then; a context manager."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._seconds: list[float] = []
        self._seen: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def figures(self) -> dict[str, Any]:
        """In MB by kind, all its processes together, at each of `seconds` since the first look."""
        return {"seconds": self._seconds, **self._seen}

    def _watch(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(EVERY_SECONDS):
            self._seconds.append(round(time.monotonic() - began, 1))
            for kind, seen in self._seen.items():
                seen.append(round(memory_mb(self._platform.pids(kind)), 1))
