"""What pages show that is not in PostgreSQL, or takes long to find out: looked up now and then, for all requests."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from console.checks import Finding, run_checks
from shared.errors import StoreUnavailable
from shared.intake.client import open_intake

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.settings import Settings

T = TypeVar("T")
CHECKED_SECONDS, INTAKE_SECONDS = 15.0, 2.0
#: A page rather says that Redis does not answer than wait for it.
REDIS_SECONDS = 0.5


class Cached(Generic[T]):
    """The result of `find`, which is at most so many seconds old, or is being found out again just now.

    Only the first who asks waits for it; all others get the last result at once.
    """

    def __init__(self, find: Callable[[], T], *, seconds: float) -> None:
        self._find = find
        self._seconds = seconds
        self._lock = threading.Lock()
        self._found: tuple[float, T] | None = None

    def get(self) -> T:
        """Return the value. Raises what finding it out raises, if it was never found out before."""
        found = self._found
        if found is None:
            with self._lock:
                return self._found[1] if self._found else self._refresh()
        if time.monotonic() - found[0] > self._seconds and self._lock.acquire(blocking=False):
            threading.Thread(target=self._refresh_and_release, name="cached", daemon=True).start()
        return found[1]

    def _refresh(self) -> T:
        value = self._find()
        self._found = (time.monotonic(), value)
        return value

    def _refresh_and_release(self) -> None:
        try:
            self._refresh()
        finally:
            self._lock.release()


@dataclass(frozen=True, kw_only=True)
class IntakeState:
    """How many deliveries wait in Redis, and for how long the oldest has; None while Redis does not answer."""

    depth: int | None
    oldest_seconds: float


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The results of all checks, and when they were made."""

    at: datetime
    findings: list[Finding]

    @property
    def wrong(self) -> list[Finding]:
        """Those that need somebody."""
        return [each for each in self.findings if not each.ok]


class Lookups:
    """The checks of `mailroom doctor` and the state of the intake."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._intake = open_intake(settings, connect_seconds=REDIS_SECONDS, answer_seconds=REDIS_SECONDS)
        self.checked = Cached(self._check, seconds=CHECKED_SECONDS)
        self.intake = Cached(self._look_at_intake, seconds=INTAKE_SECONDS)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._intake.close()

    def _check(self) -> Checked:
        return Checked(at=datetime.now(UTC), findings=list(run_checks(self._settings)))

    def _look_at_intake(self) -> IntakeState:
        try:
            return IntakeState(depth=self._intake.depth(), oldest_seconds=self._intake.oldest_age_seconds())
        except StoreUnavailable:
            return IntakeState(depth=None, oldest_seconds=0.0)
