"""What an answer of Front's means: pure, from status and headers to an allowance, a wait or an error."""

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

T = TypeVar("T")

MOVED: Final = 301
LONGEST_WAIT: Final = 3600.0
#: 4xx that pass by themselves (timeout, conflict, too early); every other one stays.
_PASSING: Final = frozenset({408, 409, 425})
_MILLISECONDS: Final = 10**11
#: A title that is more may be a token of ours.
_WORDS: Final = re.compile(r"(?=.{1,80}\Z)[A-Za-z']{1,20}(?: [A-Za-z']{1,20})*")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One call. Its `str()` names it in messages, without any id."""

    method: str
    path: str
    scope: str
    missing: type[MailroomError] = FrontRejected
    may_move: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_write(self) -> bool:
        """Whether the call changes something at Front."""
        return self.method != "GET"


def _conversation(method: str, part: str, scope: str) -> Route:
    """A merged conversation answers 301 on every sub-path, one that is gone or hidden 404."""
    return Route(
        method=method, path=f"/conversations/{{id}}{part}", scope=scope, missing=ConversationGone, may_move=True
    )


ME: Final = Route(method="GET", path="/me", scope="access to its own company")
EVENTS: Final = Route(method="GET", path="/events", scope="events:*:read")
INBOXES: Final = Route(method="GET", path="/inboxes", scope="inboxes:read")
CHANNELS: Final = Route(method="GET", path="/channels", scope="channels:read")
TEAMMATES: Final = Route(method="GET", path="/teammates", scope="teammates:read")
MESSAGE: Final = Route(method="GET", path="/messages/{id}", scope="messages:read")
DOWNLOAD: Final = Route(method="GET", path="/download/{id}", scope="attachments:read", missing=AttachmentMissing)
CONVERSATION: Final = _conversation("GET", "", "conversations:read")
CONVERSATION_EVENTS: Final = _conversation("GET", "/events", "events:*:read")
CONVERSATION_MESSAGES: Final = _conversation("GET", "/messages", "messages:read")
SET_STATUS: Final = _conversation("PATCH", "", "conversations:write")
ADD_TAG: Final = _conversation("POST", "/tags", "conversations:write")
REMOVE_TAG: Final = _conversation("DELETE", "/tags", "conversations:write")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole answer: nothing more will come. Header names are read in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def json(self) -> Any:
        """The body's JSON, None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What Front's headers say about the company's rate limit; a header that is missing or junk is None."""

    limit: int | None
    remaining: int | None
    reset_at: float | None


def allowance(headers: Mapping[str, str]) -> Allowance:
    """Read the x-ratelimit-* headers."""
    limit, remaining = (_number(headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining"))
    reset = _number(headers.get("x-ratelimit-reset"))
    return Allowance(
        limit=int(limit) if limit is not None else None,
        remaining=int(remaining) if remaining is not None else None,
        reset_at=reset / 1000 if reset and reset >= _MILLISECONDS else reset,
    )


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """The wait Front asks for, in seconds from 0 to an hour: a number or an HTTP date, None without or with junk."""
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is None and value:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return None if seconds is None else _clamped(seconds)


def throttled_for(headers: Mapping[str, str], *, now: float) -> float:
    """How long a 429 keeps us away: what it says, else until the limit resets; at least a second."""
    wait = retry_after(headers, now=now)
    if not wait:
        wait = _clamped((allowance(headers).reset_at or now) - now)
    return max(1.0, wait)


def failure(route: Route, answer: Answer, *, now: float) -> MailroomError | None:
    """The error an answer stands for, None when it is an answer to work with (2xx, or 301 where a merge may move)."""
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
        wait = throttled_for(answer.headers, now=now)
        return BudgetExhausted(f"Front answered 429 to {route}; asking again in {wait:.0f} s", retry_after=wait)
    if status in _PASSING:
        return _unavailable(route, answer, now=now)
    return FrontRejected(f"Front answered {status}{_title(answer)} to {route}; trying again would not help")


def _unavailable(route: Route, answer: Answer, *, now: float) -> FrontUnavailable:
    wait = retry_after(answer.headers, now=now)
    return FrontUnavailable(f"Front answered {answer.status} to {route}; it is tried again later", retry_after=wait)


def _title(answer: Answer) -> str:
    """Front's own short word for an error; its longer `message` may repeat what was sent."""
    body = answer.json()
    error = body.get("_error") if isinstance(body, dict) else None
    title = error.get("title") if isinstance(error, dict) else None
    return f" ({title})" if isinstance(title, str) and _WORDS.fullmatch(title) else ""


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _clamped(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_WAIT)


def expected(route: Route, parse: Callable[[Any], T | None], answer: Answer) -> T:
    """What the answer's body says; something that is not Front's wording may be a proxy's page and pass."""
    found = parse(answer.json())
    if found is None:
        raise FrontUnavailable(f"the answer to {route} is not what Front documents; it is tried again later")
    return found
