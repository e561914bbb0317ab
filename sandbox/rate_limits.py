"""Front's two rate limits: calls per minute of a company, and calls per second of one resource."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass

from sandbox.http_messages import Response, error_response

MINUTE = 60.0
SECOND = 1.0
MAX_TRACKED_RESOURCES = 10_000
BURST_MESSAGE = "Rate limit exceeded for tier-2 route. Please retry in {} milliseconds."


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLimitState:
    """The state of a company's limits after a call. `retry_after` is None if the call is allowed."""

    limit: int
    remaining: int
    reset: float
    retry_after: float | None = None
    is_burst: bool = False

    def headers(self) -> dict[str, str]:
        """The headers that Front puts on every response."""
        headers = {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.remaining),
            "x-ratelimit-reset": f"{self.reset:.3f}",
        }
        if self.is_burst:
            headers["x-front-tier"] = "2"
        return headers


class RateLimits:
    """Counts calls. A refused call costs nothing, and a company's minute begins with its first call.

    A limit of 0 means no limit. `minute_seconds` shortens the minute, for benchmarks.
    """

    def __init__(self, requests_per_minute: int, burst_per_second: int, *, minute_seconds: float = MINUTE) -> None:
        self._per_minute = requests_per_minute
        self._per_second = burst_per_second
        self._minute_seconds = minute_seconds
        self._lock = threading.Lock()
        self._minutes: dict[str, tuple[float, int]] = {}
        self._recent: dict[tuple[str, str], deque[float]] = {}

    def take(self, company: str, resource: str | None, now: float) -> RateLimitState:
        """Count a call at `now`, or refuse it with the time to wait."""
        with self._lock:
            began, used = self._minute(company, now)
            reset = began + self._minute_seconds
            if self._per_minute and used >= self._per_minute:
                return self._state(used, reset, retry_after=reset - now)
            if resource and self._per_second and (wait := self._burst(company, resource, now)):
                return self._state(used, reset, retry_after=wait, is_burst=True)
            self._minutes[company] = (began, used + 1)
            return self._state(used + 1, reset)

    def peek(self, company: str, now: float) -> RateLimitState:
        """The state of a company's limits, without counting a call."""
        with self._lock:
            began, used = self._minute(company, now)
            return self._state(used, began + self._minute_seconds)

    def clear(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._minutes.clear()
            self._recent.clear()

    def _minute(self, company: str, now: float) -> tuple[float, int]:
        began, used = self._minutes.get(company, (now, 0))
        return (began, used) if now < began + self._minute_seconds else (now, 0)

    def _burst(self, company: str, resource: str, now: float) -> float | None:
        """Count the call and return None, or return the seconds until the oldest recent call is a second old."""
        if len(self._recent) > MAX_TRACKED_RESOURCES:
            self._recent = {key: calls for key, calls in self._recent.items() if calls[-1] > now - SECOND}
        calls = self._recent.setdefault((company, resource), deque())
        while calls and calls[0] <= now - SECOND:
            calls.popleft()
        if len(calls) >= self._per_second:
            return calls[0] + SECOND - now
        calls.append(now)
        return None

    def _state(
        self, used: int, reset: float, *, retry_after: float | None = None, is_burst: bool = False
    ) -> RateLimitState:
        return RateLimitState(
            limit=self._per_minute,
            remaining=max(0, self._per_minute - used),
            reset=reset,
            retry_after=retry_after,
            is_burst=is_burst,
        )


class RetryAfterMonitor:
    """Detects callers that call again before their `retry-after` is over. It forgives calls already under way."""

    GRACE_SECONDS = 0.5

    def __init__(self) -> None:
        self._refused: dict[tuple[str, str | None], tuple[float, float]] = {}

    def note_refusal(self, company: str, resource: str | None, now: float, seconds: float) -> None:
        """Remember that a caller was told to wait so many seconds; without a resource, for all of them."""
        self._refused[company, resource] = (now + self.GRACE_SECONDS, now + seconds)

    def is_early(self, company: str, resource: str | None, now: float) -> bool:
        """Tell whether a call comes before its time."""
        spans = (self._refused.get((company, None)), self._refused.get((company, resource)))
        return any(span[0] < now < span[1] for span in spans if span)

    def clear(self) -> None:
        """Forget all refusals."""
        self._refused.clear()


def too_many_requests(state: RateLimitState, *, with_retry_after: bool = True) -> Response:
    """Front's 429. A burst's message has milliseconds; the header `retry-after` rounds them up to seconds."""
    seconds = state.retry_after or 0.0
    message = BURST_MESSAGE.format(math.ceil(seconds * 1000)) if state.is_burst else "Rate limit exceeded"
    headers = state.headers()
    if with_retry_after:
        headers["retry-after"] = str(max(1, math.ceil(seconds)))
    return error_response(429, message, headers=headers)
