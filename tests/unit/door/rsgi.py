"""Requests in the form in which Granian passes them on, and their answers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ingest.server import Server


class Headers(list[tuple[str, str]]):
    """Headers as Granian passes them on: lower case, and repeated names are kept."""

    def items(self) -> list[tuple[str, str]]:
        return list(self)

    def get(self, name: str) -> str | None:
        return next((value for each, value in self if each == name), None)

    def __contains__(self, name: object) -> bool:
        return any(each == name for each, _ in self)


@dataclass
class Scope:
    """A request without its body."""

    method: str = "POST"
    path: str = "/webhooks/front"
    query_string: str = ""
    http_version: str = "1.1"
    scheme: str = "http"
    server: str = "127.0.0.1:8080"
    client: str = "127.0.0.1:50000"
    headers: dict[str, str] | Headers = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def mimetype(self) -> str:
        return self.headers["Content-Type"].partition(";")[0]


class Proto:
    """A body in pieces, and the answers that were sent. A piece of None never arrives."""

    def __init__(self, *pieces: bytes | None) -> None:
        self._pieces: Sequence[bytes | None] = pieces
        self.taken = 0
        self.answers: list[Answer] = []

    async def __call__(self) -> bytes:
        return b"".join([piece async for piece in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if piece is None:
                await asyncio.Event().wait()
            else:
                self.taken += len(piece)
                yield piece

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answers.append(Answer(status=status, headers=dict(headers), body=body))


def ask(server: Server, scope: Scope, *pieces: bytes | None) -> Answer:
    """Return the one answer to a request."""
    proto = Proto(*pieces)
    asyncio.run(server.__rsgi__(scope, proto))  # type: ignore[arg-type]
    [answer] = proto.answers
    return answer


#: Headers of a request that may be signed: only its whole body tells.
MAYBE_SIGNED = {"x-front-signature": "c2lnbmVk", "x-front-request-timestamp": "1786440071456"}


def with_length(body: bytes) -> tuple[Scope, Proto]:
    """Return a request that announces its length."""
    return Scope(headers={"content-length": str(len(body)), **MAYBE_SIGNED}), Proto(body)


def chunked(*pieces: bytes) -> tuple[Scope, Proto]:
    """Return a request in chunks, without a length."""
    return Scope(headers={"transfer-encoding": "chunked", **MAYBE_SIGNED}), Proto(*pieces)
