"""Wakes the recorder when a delivery was kept, from a thread: no request waits for Celery, and none fails by it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from ingest import door_metrics
from shared import failpoints
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.db.recording.spool_writer import AsyncSpool
    from shared.intake.client import AsyncIntake
    from shared.models import Delivery

log = structlog.get_logger(__name__)

PAUSE_AFTER_FAILURE = 1.0  # seconds; meanwhile the sweeper records
SPOOL_RINGS_EVERY = 1.0  # seconds; the spool has no bell in Redis that says whether it is rung already


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
                door_metrics.BELLS.labels("failed").inc()
                log.debug("recorder_not_told", reason=str(exc))
                time.sleep(PAUSE_AFTER_FAILURE)
            except Exception:
                door_metrics.BELLS.labels("failed").inc()
                log.exception("recorder_not_told")
                time.sleep(PAUSE_AFTER_FAILURE)
            else:
                door_metrics.BELLS.labels("sent").inc()


class RingingIntake:
    """The intake. The recorder is told when the bell was silent."""

    def __init__(self, intake: AsyncIntake, ring: Callable[[], None]) -> None:
        self._intake = intake
        self._ring = ring

    async def put(self, deliveries: Sequence[Delivery]) -> Sequence[Exception | None]:
        """Add all in one round trip."""
        put = await self._intake.put(deliveries)
        if put.bell_was_silent:
            self._ring()
        return put.refusals

    async def check(self) -> None:
        """Raise unless Redis takes writes."""
        await self._intake.check_writable()


class RingingSpool:
    """The spool. The recorder is told once a second while deliveries come."""

    def __init__(
        self, spool: AsyncSpool, ring: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spool = spool
        self._ring = ring
        self._clock = clock
        self._rung_at = float("-inf")

    async def put(self, deliveries: Sequence[Delivery]) -> Sequence[Exception | None]:
        """Keep all in one transaction."""
        await self._spool.put(deliveries)
        if self._clock() - self._rung_at >= SPOOL_RINGS_EVERY:
            self._rung_at = self._clock()
            self._ring()
        return [None] * len(deliveries)

    async def check(self) -> None:
        """Raise unless PostgreSQL takes writes."""
        await self._spool.check()
