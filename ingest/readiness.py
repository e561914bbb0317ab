"""Says whether the door can keep a delivery now, asking the stores at most once a second."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ingest.keeper import WRITABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FRESH_SECONDS = 1.0


class Readiness:
    """The last answer of the stores. `ask` may take as long as a delivery."""

    def __init__(self, ask: Callable[[], Mapping[str, str]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._checks: Mapping[str, str] = {}
        self._asked_at = float("-inf")

    def answer(self) -> tuple[dict[str, object], int]:
        """The checks as JSON, and 200 where some store is writable, else 503."""
        with self._lock:
            if self._clock() - self._asked_at >= FRESH_SECONDS:
                self._checks = self._ask()
                self._asked_at = self._clock()
            checks = dict(self._checks)
        ready = WRITABLE in checks.values()
        return {"ready": ready, "checks": checks}, 200 if ready else 503
