"""Decides what an endpoint's answer means: for the notification, and for the endpoint. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Final

#: Seconds between attempt 1 and 2, 2 and 3, …; about two days in all. Then the notification has failed.
SCHEDULE: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000, 86_400)
#: The attempts of a notification that the endpoint refuses with a 4xx: another one of the schedule rarely helps.
REFUSED_ATTEMPTS: Final = 3
#: An endpoint's `Retry-After` counts up to a day.
LONGEST_WAIT: Final = 86_400.0
#: An endpoint is held after so many failures in a row, over at least so many seconds.
HELD_AFTER_FAILURES: Final = 5
HELD_AFTER_SECONDS: Final = 120.0
#: An endpoint that fails gets its next notification after a second for each failure in a row, up to this.
LONGEST_PAUSE: Final = 30.0
#: A held endpoint is probed after 30 s, then ever later, up to 15 minutes.
FIRST_PROBE, LAST_PROBE = 30.0, 900.0
#: An endpoint that stays held is reported at these ages, in seconds.
ALARMS: Final = (900.0, 86_400.0, 432_000.0)
#: The 4xx that say nothing against the notification: another try may help.
_BUSY: Final = frozenset({408, 409, 425, 429})
#: The 5xx of a proxy whose server is away.
_GATEWAY: Final = frozenset({502, 503, 504})

UNAVAILABLE, REFUSED = "endpoint_unavailable", "endpoint_refused"


class Health(Enum):
    """An endpoint as its answer shows it: it works, it failed, it is gone for good, or it asks to be left alone."""

    WORKS = "works"
    FAILED = "failed"
    GONE = "gone"
    DISABLED = "disabled"


@dataclass(frozen=True, kw_only=True)
class EndpointAnswer:
    """The answer of an endpoint: its status, or the `problem` that left it without one.

    `wish` is the header `webhook-delivery`; `retry_after` is the time that the endpoint names, in seconds.
    """

    status: int | None = None
    problem: str = ""
    wish: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The endpoint took the notification."""

    health: Health = Health.WORKS


@dataclass(frozen=True, kw_only=True)
class Again:
    """Send the notification again in `delay` seconds, at the earliest. `counts`: whether this was an attempt of it."""

    delay: float
    reason: str
    health: Health | None
    counts: bool = True
    code: str = UNAVAILABLE


@dataclass(frozen=True, kw_only=True)
class GivenUp:
    """The notification has failed, and waits for a person. `health`: what that says about the endpoint, if anything."""

    code: str
    reason: str
    health: Health | None


Decision = Sent | Again | GivenUp


def decide(
    answer: EndpointAnswer, *, attempt: int, is_probe: bool = False, is_test: bool = False, jitter: float = 0.5
) -> Decision:
    """Decide what follows attempt number `attempt`, where the first is 1; `jitter` is a random 0..1.

    `is_probe`: the notification was sent although the endpoint is held. A probe without an answer is no attempt of its
    notification: it would use up all its attempts while the endpoint is away. `is_test`: a person looks whether the
    endpoint answers, so there is no second attempt, and a failure says nothing about the endpoint.
    """
    wish = answer.wish.strip().lower()
    if answer.status is not None and 200 <= answer.status < 300:
        return Sent(health=Health.DISABLED if wish == "disable" else Health.WORKS)
    reason = describe(answer)
    if is_test:
        return GivenUp(code=REFUSED if _is_refusal(answer.status) else UNAVAILABLE, reason=reason, health=None)
    if answer.status == HTTPStatus.GONE or wish == "disable":
        health = Health.DISABLED if wish == "disable" else Health.GONE
        return Again(delay=0.0, reason=reason, health=health, counts=False)
    return _after_failure(answer, reason, attempt, jitter, is_probe=is_probe)


def describe(answer: EndpointAnswer) -> str:
    """Return what happened, for people. It names no address."""
    if answer.status is None:
        return answer.problem or "gave no answer"
    if 300 <= answer.status < 400:
        return f"answered {answer.status}: redirects are not followed; give the endpoint its final URL"
    return f"answered {answer.status}"


def holds(*, failures: int, failing_seconds: float) -> bool:
    """Whether an endpoint with so many failures in a row, over so long, is held."""
    return failures >= HELD_AFTER_FAILURES and failing_seconds >= HELD_AFTER_SECONDS


def pause_after(failures: int) -> float:
    """Return how long an endpoint is left alone after so many failures in a row, in seconds."""
    return min(float(failures), LONGEST_PAUSE)


def next_probe_after(held_seconds: float) -> float:
    """Return how long after now a held endpoint is probed again, in seconds."""
    return min(max(FIRST_PROBE, held_seconds / 2), LAST_PROBE)


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header names, at most a day; None when it names none."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (TypeError, ValueError):  # not a date, or one without a zone
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT) if math.isfinite(seconds) else None


def allot(  # noqa: PLR0913 -- what it decides by, each named at the call
    waiting: Sequence[int],
    in_flight: Mapping[int, int],
    slots: int,
    *,
    slow: Collection[int],
    quick: Collection[int],
    is_busy: bool = False,
) -> dict[int, int]:
    """Return how many claims may be sent to each of the `waiting` endpoints, which take turns in this order.

    A `quick` endpoint has at most a quarter of the slots, a `slow` one 1, and another one 2. All together have half of
    the slots, those that are not quick a quarter, and the slow ones an eighth, so that they delay no other endpoint.
    `is_busy`: other tasks fill the workers. Then a quick one has 1, which sends without a pause, and all a quarter.
    """
    share = max(1, slots // 4)
    of_quick = 1 if is_busy else max(2, share)
    most = {endpoint: 1 if endpoint in slow else of_quick if endpoint in quick else 2 for endpoint in waiting}
    left = _Left(share if is_busy else max(1, slots // 2), share, max(1, share // 2), slow=slow, quick=quick)
    for endpoint, count in in_flight.items():
        left.take(endpoint, count)
    allotted: dict[int, int] = {}
    for turn in range(1, max(most.values(), default=0) + 1):
        for endpoint in waiting:
            has = in_flight.get(endpoint, 0) + allotted.get(endpoint, 0)
            if has < min(turn, most[endpoint]) and left.has(endpoint):
                allotted[endpoint] = allotted.get(endpoint, 0) + 1
                left.take(endpoint, 1)
    return allotted


class _Left:
    """The claims that are left: for all endpoints, for those that are not quick, and for the slow ones."""

    def __init__(self, total: int, for_others: int, for_slow: int, *, slow: Collection[int], quick: Collection[int]):
        self._total, self._for_others, self._for_slow = total, for_others, for_slow
        self._slow, self._quick = slow, quick

    def has(self, endpoint: int) -> bool:
        return (
            self._total > 0
            and (endpoint in self._quick or self._for_others > 0)
            and (endpoint not in self._slow or self._for_slow > 0)
        )

    def take(self, endpoint: int, count: int) -> None:
        self._total -= count
        self._for_others -= 0 if endpoint in self._quick else count
        self._for_slow -= count if endpoint in self._slow else 0


def _after_failure(
    answer: EndpointAnswer, reason: str, attempt: int, jitter: float, *, is_probe: bool
) -> Again | GivenUp:
    if answer.wish.strip().lower() == "abort-message":
        return GivenUp(code=REFUSED, reason=f"{reason}, and asked not to get it again", health=None)
    if _is_refusal(answer.status):
        return _refused(reason, attempt, jitter)
    if is_probe and (answer.status is None or answer.status in _GATEWAY):
        return Again(delay=answer.retry_after or 0.0, reason=reason, health=Health.FAILED, counts=False)
    return _later(answer, reason, attempt, jitter)


def _is_refusal(status: int | None) -> bool:
    return status is not None and 400 <= status < 500 and status not in _BUSY


def _refused(reason: str, attempt: int, jitter: float) -> Again | GivenUp:
    health = Health.FAILED if attempt == 1 else None
    if attempt >= REFUSED_ATTEMPTS:
        return GivenUp(code=REFUSED, reason=reason, health=health)
    return Again(delay=_delay(attempt, jitter), reason=reason, health=health, code=REFUSED)


def _later(answer: EndpointAnswer, reason: str, attempt: int, jitter: float) -> Again | GivenUp:
    if attempt > len(SCHEDULE):
        return GivenUp(code=UNAVAILABLE, reason=reason, health=Health.FAILED)
    delay = max(_delay(attempt, jitter), answer.retry_after or 0.0)
    return Again(delay=delay, reason=reason, health=Health.FAILED)


def _delay(attempt: int, jitter: float) -> float:
    """Return the seconds of the schedule, with up to a tenth more, so that many do not come back at once."""
    return SCHEDULE[attempt - 1] * (1 + jitter / 10)
