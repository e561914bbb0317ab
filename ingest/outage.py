"""Remembers that a store is away, so that only the first requests pay for finding out."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from shared.errors import StoreUnavailable
from shared.process import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

LOOK_EVERY = 0.5  # seconds


class Outage:
    """Begins with a failure, and ends when `check` no longer raises: a thread of its own looks, no request does."""

    def __init__(self, store: str, check: Callable[[], None], *, look_every: float = LOOK_EVERY) -> None:
        self._store = store
        self._check = check
        self._look_every = look_every
        self._reason: str | None = None
        self._lock = threading.Lock()

    @property
    def reason(self) -> str | None:
        """Why, while it lasts."""
        return self._reason

    def begin(self, cause: Exception) -> None:
        """The store failed just now."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = str(cause)
        metrics.STORES_AWAY.labels(self._store).inc()
        unexpected = cause if not isinstance(cause, StoreUnavailable) else None
        log.warning("store is away", store=self._store, reason=str(cause), exc_info=unexpected)
        threading.Thread(target=self._look, name=f"{self._store}-outage", daemon=True).start()

    def _look(self) -> None:
        while self._reason is not None:
            time.sleep(self._look_every)
            try:
                self._check()
            except Exception as exc:  # noqa: BLE001 - whatever it is, the store is not back
                self._reason = str(exc)
            else:
                self._reason = None
        log.info("store is back", store=self._store)
