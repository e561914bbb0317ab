"""The meaning of Front's answers: from status and headers to a rate limit, a wait or an error. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

from shared.errors import (
    AttachmentMissing,
    BudgetExhausted,
    ConversationGone,
    FrontRejected,
    FrontUnavailable,
    MailroomError,
    MissingScope,
    NeedsReconnect,
    UnclearAnswer,
    UnsafeRedirect,
)

MOVED: Final = 301
MAX_WAIT_SECONDS: Final = 3600.0
#: A later try may succeed after these 4xx (timeout, conflict, too early), and after no other.
_TEMPORARY: Final = frozenset({408, 409, 425})
#: A reset time from here on is in milliseconds.
_MILLISECONDS: Final = 10**11
#: A title of plain words only. Any other text may repeat a token of ours.
_PLAIN_WORDS: Final = re.compile(r"(?=.{1,80}\Z)[A-Za-z']{1,20}(?: [A-Za-z']{1,20})*")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One call of Front's API. Its `str()` names the call in messages, without an id.

    `missing`: the error that a 404 stands for. `may_move`: a merged conversation answers 301. `accept`: the media type
    that Front's documents name for the answer.
    """

    method: str
    path: str
    scope: str
    missing: type[MailroomError] = FrontRejected
    may_move: bool = False
    accept: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_write(self) -> bool:
        """Whether the call changes something at Front."""
        return self.method != "GET"


def _conversation(method: str, part: str, scope: str) -> Route:
    """Return a route below a conversation: it answers 301 after a merge, and 404 when it is gone or hidden."""
    return Route(
        method=method, path=f"/conversations/{{id}}{part}", scope=scope, missing=ConversationGone, may_move=True
    )


ME: Final = Route(method="GET", path="/me", scope="access to its own company")
EVENTS: Final = Route(method="GET", path="/events", scope="events:*:read")
INBOXES: Final = Route(method="GET", path="/inboxes", scope="inboxes:read")
CHANNELS: Final = Route(method="GET", path="/channels", scope="channels:read")
TEAMMATES: Final = Route(method="GET", path="/teammates", scope="teammates:read")
MESSAGE: Final = Route(method="GET", path="/messages/{id}", scope="messages:read")
DOWNLOAD: Final = Route(
    method="GET", path="/download/{id}", scope="attachments:read", missing=AttachmentMissing, accept="*/*"
)
CONVERSATION: Final = _conversation("GET", "", "conversations:read")
CONVERSATION_EVENTS: Final = _conversation("GET", "/events", "events:*:read")
CONVERSATION_MESSAGES: Final = _conversation("GET", "/messages", "messages:read")
SET_STATUS: Final = _conversation("PATCH", "", "conversations:write")
ADD_TAG: Final = _conversation("POST", "/tags", "conversations:write")
REMOVE_TAG: Final = _conversation("DELETE", "/tags", "conversations:write")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole answer. `headers` ignores the case of names."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def json(self) -> Any:
        """Return the parsed body, None when it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """The company's rate limit, as Front's headers give it. A missing or invalid header is None."""

    limit: int | None
    remaining: int | None
    reset_at: float | None


def rate_limit(headers: Mapping[str, str]) -> RateLimit:
    """Read the x-ratelimit-* headers."""
    limit, remaining = (_number(headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining"))
    reset = _number(headers.get("x-ratelimit-reset"))
    return RateLimit(
        limit=int(limit) if limit is not None else None,
        remaining=int(remaining) if remaining is not None else None,
        reset_at=reset / 1000 if reset and reset >= _MILLISECONDS else reset,
    )


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds to wait that Front names, from 0 to an hour; None for a missing or invalid header.

    The header is a number or an HTTP date.
    """
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is None and value:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return None if seconds is None else _clamped(seconds)


def throttle_seconds(headers: Mapping[str, str], *, now: float) -> float:
    """Return how long a 429 makes us wait: as long as it says, else until the limit resets; at least a second."""
    wait = retry_after(headers, now=now)
    if not wait:
        wait = _clamped((rate_limit(headers).reset_at or now) - now)
    return max(1.0, wait)


def failure(route: Route, answer: Answer, *, now: float) -> MailroomError | None:
    """Return the error that an answer stands for, None for 2xx, and for 301 where a merge may move."""
    status = answer.status
    if 200 <= status < 300 or (status == MOVED and route.may_move):
        return None
    if 300 <= status < 400:
        return UnsafeRedirect(f"Front answered {status} to {route}, which is never redirected; it was not followed")
    if 400 <= status < 500:
        return _refusal(route, answer, now=now)
    if route.is_write:
        return UnclearAnswer(
            f"Front answered {status} to {route}; whether it happened is read before anything is sent again"
        )
    return _unavailable(route, answer, now=now)


def parse_answer(route: Route, parse: Callable[[Any], T | None], answer: Answer) -> T:
    """Return the parsed body. Raises FrontUnavailable for anything else, which may be the page of a proxy."""
    found = parse(answer.json())
    if found is None:
        raise FrontUnavailable(f"the answer to {route} is not what Front documents; it is tried again later")
    return found


def _refusal(route: Route, answer: Answer, *, now: float) -> MailroomError:
    status = answer.status
    if status == 401:
        return NeedsReconnect(f"Front does not accept the token for {route}; connect the tenant again")
    if status == 403:
        return MissingScope(f"the token may not {route}; give the Front app {route.scope} and connect the tenant again")
    if status == 404:
        return route.missing(
            f"Front answered 404 to {route}; it is gone, not there yet, or hidden from this connection"
        )
    if status == 429:
        wait = throttle_seconds(answer.headers, now=now)
        return BudgetExhausted(f"Front answered 429 to {route}; asking again in {wait:.0f} s", retry_after=wait)
    if status in _TEMPORARY:
        return _unavailable(route, answer, now=now)
    return FrontRejected(f"Front answered {status}{_title(answer)} to {route}; trying again would not help")


def _unavailable(route: Route, answer: Answer, *, now: float) -> FrontUnavailable:
    wait = retry_after(answer.headers, now=now)
    return FrontUnavailable(f"Front answered {answer.status} to {route}; it is tried again later", retry_after=wait)


def _title(answer: Answer) -> str:
    """Return Front's short title of an error. Its longer `message` may repeat parts of the request."""
    body = answer.json()
    error = body.get("_error") if isinstance(body, dict) else None
    title = error.get("title") if isinstance(error, dict) else None
    return f" ({title})" if isinstance(title, str) and _PLAIN_WORDS.fullmatch(title) else ""


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _clamped(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_WAIT_SECONDS)
