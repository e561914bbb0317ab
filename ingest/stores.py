"""The two places where the door keeps a delivery, each waking the recorder in its own way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.store import Store
    from shared.intake.client import Intake
    from shared.intake.in_loop import IntakeInLoop
    from shared.models import Delivery

SPOOL_RINGS_EVERY = 1.0  # seconds; the spool has no bell in Redis that says whether it is rung already


class IntakeStore:
    """The intake. The recorder is told when the bell was silent."""

    def __init__(self, intake: Intake, ring: Callable[[], None]) -> None:
        self._intake = intake
        self._ring = ring

    def put(self, deliveries: Sequence[Delivery]) -> Sequence[Exception | None]:
        """Add all in one round trip."""
        put = self._intake.put(deliveries)
        if put.bell_was_silent:
            self._ring()
        return put.refusals

    def check(self) -> None:
        """Raise unless Redis takes writes."""
        self._intake.check_writable()


class LoopIntakeStore:
    """The same from an event loop. It is asked whether it takes writes by threads, over connections of their own."""

    def __init__(self, intake: IntakeInLoop, asked: Intake, ring: Callable[[], None]) -> None:
        self._intake = intake
        self._asked = asked
        self._ring = ring

    async def put(self, deliveries: Sequence[Delivery]) -> Sequence[Exception | None]:
        """Add all in one round trip."""
        put = await self._intake.put(deliveries)
        if put.bell_was_silent:
            self._ring()
        return put.refusals

    def check(self) -> None:
        """Raise unless Redis takes writes."""
        self._asked.check_writable()


class RingingSpool:
    """The spool. The recorder is told once a second while deliveries come."""

    def __init__(self, spool: Store, ring: Callable[[], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._spool = spool
        self._ring = ring
        self._clock = clock
        self._rung_at = float("-inf")

    def put(self, deliveries: Sequence[Delivery]) -> Sequence[Exception | None]:
        """Keep all in one transaction."""
        refusals = self._spool.put(deliveries)
        if self._clock() - self._rung_at >= SPOOL_RINGS_EVERY:
            self._rung_at = self._clock()
            self._ring()
        return refusals

    def check(self) -> None:
        """Raise unless PostgreSQL takes writes."""
        self._spool.check()
