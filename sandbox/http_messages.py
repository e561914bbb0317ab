"""What goes back over the wire, and in which manner."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Manner = Literal["plain", "silent", "reset", "cut", "slow", "oversized"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """A body of known length that is made while it is sent."""

    length: int
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A status, headers and a body; `manner` says how they are sent, or not."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Stream = b""
    manner: Manner = "plain"
    seconds: float = 0.0
    surplus: int = 0


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON document."""
    named = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Answer(status=status, headers=named, body=json.dumps(value).encode())


TITLES = {
    400: "Bad request",
    401: "Unauthenticated",
    403: "Forbidden",
    404: "Not found",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
}


def error_answer(
    status: int, message: str, *, details: list[str] | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """An error in Front's shape."""
    error: dict[str, Any] = {"status": status, "title": TITLES[status], "message": message}
    if details:
        error["details"] = details
    return json_answer({"_error": error}, status, headers)


class Refusal(Exception):
    """Answer with an error and do nothing."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def refuse(status: int, message: str, *, details: list[str] | None = None) -> Refusal:
    """The exception for an error in Front's shape."""
    return Refusal(error_answer(status, message, details=details))
