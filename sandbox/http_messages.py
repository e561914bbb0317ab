"""HTTP requests and responses, errors as responses, and JSON serializer read into dataclasses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import parse_qs, urlsplit

WireFault = Literal["silent", "reset", "cut", "cut_chunked", "cut_unframed", "unframed", "slow", "oversized"]
TITLES = {
    400: "Bad request",
    401: "Unauthenticated",
    403: "Forbidden",
    404: "Not found",
    406: "Not acceptable",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
}
SCALARS = {int, float, str, bool}

#: Several steps of one request ask for parts of its URL.
_split = lru_cache(maxsize=256)(urlsplit)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """A body of known length that is generated while it is sent."""

    length: int
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """A status, headers and a body.

    `wire_fault` spoils how they are sent: `seconds` is the length of a silence or of a slow body, `extra_bytes` is
    the padding of an oversized body.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Stream = b""
    wire_fault: WireFault | None = None
    seconds: float = 0.0
    extra_bytes: int = 0

    @property
    def length(self) -> int:
        """The number of bytes of the body."""
        return self.body.length if isinstance(self.body, Stream) else len(self.body)

    def chunks(self) -> Iterator[bytes]:
        """The body, piece by piece."""
        return self.body.chunks() if isinstance(self.body, Stream) else iter([self.body])


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON document."""
    named = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Response(status=status, headers=named, body=json.dumps(value).encode())


def error_response(
    status: int, message: str, *, details: list[str] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """An error in Front's format."""
    error: dict[str, Any] = {"status": status, "title": TITLES[status], "message": message}
    if details:
        error["details"] = details
    return json_response({"_error": error}, status, headers)


class HttpError(Exception):
    """Ends the handling of a request with a response."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class BadRequest(HttpError):
    """A control request that cannot be carried out: a 400 with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(json_response({"error": reason}, 400))
        self.reason = reason


def http_error(status: int, message: str, *, details: list[str] | None = None) -> HttpError:
    """The exception for an error in Front's format."""
    return HttpError(error_response(status, message, details=details))


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Method, target and raw body of a request; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path without the query."""
        return _split(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        """The query parameters, blank values included."""
        return parse_qs(_split(self.target).query, keep_blank_values=True)

    @property
    def host(self) -> str:
        """Host and port as the client named them."""
        return self.headers.get("host", "127.0.0.1")

    def first(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next(iter(self.query.get(name, [])), None)

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields of the body, which is a form or a JSON object."""
        if self.headers.get("content-type", "").startswith("application/json"):
            body = self.json()
            return body if isinstance(body, dict) else {}
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    def json(self) -> Any:
        """The body as JSON, or None for an empty one. Broken JSON raises the 400 that Front sends."""
        try:
            return json.loads(self.body or b"null")
        except ValueError as exc:
            raise HttpError(json_response({"_error": {"message": f"Unexpected token: {exc}"}}, 400)) from exc


def read_fields(body: Any, record: type) -> dict[str, Any]:
    """Check a JSON object against the fields of a dataclass, and return those given. Nulls are left out.

    An unknown field or a value of the wrong type raises BadRequest.
    """
    hints = get_type_hints(record)
    if not isinstance(body, dict):
        raise BadRequest("expected a JSON object")
    if unknown := sorted(set(body) - set(hints)):
        raise BadRequest(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(hints))}")
    given = {name: value for name, value in body.items() if value is not None}
    for name, value in given.items():
        if not _fits(value, hints[name]):
            raise BadRequest(f"{name} is of the wrong type")
    return given


def _fits(value: Any, hint: Any) -> bool:
    """Check scalars only; the caller checks lists and objects."""
    allowed = set(get_args(hint) or (hint,)) & SCALARS
    if not allowed or get_origin(hint) is tuple:
        return True
    if isinstance(value, int) and not isinstance(value, bool) and float in allowed:
        return True
    return type(value) in allowed
