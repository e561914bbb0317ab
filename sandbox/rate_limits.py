"""Front's two rate limits: so many a minute for a company, so many a second for one resource."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

MINUTE = 60.0
SECOND = 1.0
MANY = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a company stands after a call. `retry_after` is None when the call may go on."""

    limit: int
    remaining: int
    reset: float
    retry_after: float | None = None
    is_burst: bool = False

    def headers(self) -> dict[str, str]:
        """The headers Front puts on every response."""
        named = {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.remaining),
            "x-ratelimit-reset": f"{self.reset:.3f}",
        }
        if self.is_burst:
            named["x-front-tier"] = "2"
        return named


class Limits:
    """Counts calls; a refused call costs nothing. A company's minute begins with its first call.

    A limit of 0 is none.
    """

    def __init__(self, requests_per_minute: int, burst_per_second: int) -> None:
        self._per_minute = requests_per_minute
        self._per_second = burst_per_second
        self._lock = threading.Lock()
        self._minutes: dict[str, tuple[float, int]] = {}
        self._recent: dict[tuple[str, str], deque[float]] = {}

    def take(self, company: str, resource: str | None, now: float) -> Standing:
        """Count a call at `now`, or say when it may be made."""
        with self._lock:
            began, used = self._minute(company, now)
            reset = began + MINUTE
            if self._per_minute and used >= self._per_minute:
                return self._standing(used, reset, retry_after=reset - now)
            if resource and self._per_second and (wait := self._burst(company, resource, now)):
                return self._standing(used, reset, retry_after=wait, is_burst=True)
            self._minutes[company] = (began, used + 1)
            return self._standing(used + 1, reset)

    def look(self, company: str, now: float) -> Standing:
        """Where a company stands, at no cost."""
        with self._lock:
            began, used = self._minute(company, now)
            return self._standing(used, began + MINUTE)

    def clear(self) -> None:
        """Begin everybody's minute anew."""
        with self._lock:
            self._minutes.clear()
            self._recent.clear()

    def _minute(self, company: str, now: float) -> tuple[float, int]:
        began, used = self._minutes.get(company, (now, 0))
        return (began, used) if now < began + MINUTE else (now, 0)

    def _burst(self, company: str, resource: str, now: float) -> float | None:
        """Note the call and return None, or the seconds until the oldest of this second has passed."""
        if len(self._recent) > MANY:
            self._recent = {key: calls for key, calls in self._recent.items() if calls[-1] > now - SECOND}
        calls = self._recent.setdefault((company, resource), deque())
        while calls and calls[0] <= now - SECOND:
            calls.popleft()
        if len(calls) >= self._per_second:
            return calls[0] + SECOND - now
        calls.append(now)
        return None

    def _standing(
        self, used: int, reset: float, *, retry_after: float | None = None, is_burst: bool = False
    ) -> Standing:
        return Standing(
            limit=self._per_minute,
            remaining=max(0, self._per_minute - used),
            reset=reset,
            retry_after=retry_after,
            is_burst=is_burst,
        )


class Patience:
    """Notices callers who were told to wait and did not. Calls already under way are forgiven."""

    GRACE = 0.5

    def __init__(self) -> None:
        self._told: dict[tuple[str, str | None], tuple[float, float]] = {}

    def tell(self, company: str, resource: str | None, now: float, seconds: float) -> None:
        """Remember that a caller was asked to stay away for so long."""
        self._told[company, resource] = (now + self.GRACE, now + seconds)

    def is_early(self, company: str, resource: str | None, now: float) -> bool:
        """Whether a call comes before its time."""
        told = (self._told.get((company, None)), self._told.get((company, resource)))
        return any(span[0] < now < span[1] for span in told if span)

    def clear(self) -> None:
        """Forget what was said."""
        self._told.clear()
