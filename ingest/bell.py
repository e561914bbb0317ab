"""Wakes the recorder, from a thread of its own: no request waits for Celery, and none fails by it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from shared import failpoints, metrics
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

PAUSE_AFTER_FAILURE = 1.0  # seconds; meanwhile the sweeper records


class Bell:
    """Rings at most once at a time; rings that come meanwhile are one more ring. `send` raises StoreUnavailable."""

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._wanted = threading.Event()
        self._started = threading.Lock()

    def ring(self) -> None:
        """Have the recorder told soon, if it can be; returns at once."""
        self._wanted.set()
        if self._started.acquire(blocking=False):
            threading.Thread(target=self._run, name="bell", daemon=True).start()

    def _run(self) -> None:
        while self._wanted.wait():
            self._wanted.clear()
            try:
                failpoints.reach("kept_before_ring")
                self._send()
            except StoreUnavailable as exc:
                metrics.BELLS.labels("failed").inc()
                log.debug("recorder_not_told", reason=str(exc))
                time.sleep(PAUSE_AFTER_FAILURE)
            except Exception:
                metrics.BELLS.labels("failed").inc()
                log.exception("recorder_not_told")
                time.sleep(PAUSE_AFTER_FAILURE)
            else:
                metrics.BELLS.labels("sent").inc()
