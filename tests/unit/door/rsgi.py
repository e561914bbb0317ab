"""Requests as Granian hands them over, by hand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


@dataclass
class Scope:
    """What is known before the body."""

    method: str = "POST"
    path: str = "/webhooks/front"
    query_string: str = ""
    http_version: str = "1.1"
    scheme: str = "http"
    server: str = "127.0.0.1:8080"
    client: str = "127.0.0.1:50000"
    headers: dict[str, str] = field(default_factory=dict)


class Proto:
    """A body in pieces, and a place for the answer. Where a piece is None, nothing comes any more."""

    def __init__(self, *pieces: bytes | None) -> None:
        self._pieces: Sequence[bytes | None] = pieces
        self.taken = 0
        self.answers: list[tuple[int, dict[str, str], bytes]] = []

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
        self.answers.append((status, dict(headers), body))


def sent_whole(body: bytes, **headers: str) -> tuple[Scope, Proto]:
    """A request whose length is announced."""
    return Scope(headers={"content-length": str(len(body)), **headers}), Proto(body)


def chunked(*pieces: bytes) -> tuple[Scope, Proto]:
    """A request whose length is not."""
    return Scope(headers={"transfer-encoding": "chunked"}), Proto(*pieces)
