"""Collects the bodies of requests in the event loop, where a slow sender costs a few kilobytes and no thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from granian.rsgi import ProtocolClosed, ProtocolError  # type: ignore[attr-defined]  # the documented names
from werkzeug.exceptions import ClientDisconnected

from shared.errors import DoorFull

if TYPE_CHECKING:
    from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]  # as above

SMALL = 64 * 1024  # bytes; Front's webhooks are well below
LARGE_TOGETHER = 256 * 2**20  # bytes of larger bodies that one process holds at once


class Bodies:
    """The bodies that one process holds. For the loop's thread."""

    def __init__(self, *, limit: int, together: int = LARGE_TOGETHER) -> None:
        self._limit = limit
        self._room = together

    async def collect(self, scope: Scope, proto: HTTPProtocol) -> bytes:
        """The body; give it back to `release`. Raises ClientDisconnected, and DoorFull when memory runs out.

        One announced over the limit is not read, a longer one only to just behind it: who gets it must count.
        """
        length = scope.headers.get("content-length")
        if length is None and "transfer-encoding" not in scope.headers:
            return b""
        if length is not None and int(length) > self._limit:
            return b""
        try:
            return await (proto() if length is not None and int(length) <= SMALL else self._piece_by_piece(proto))
        except (ProtocolClosed, ProtocolError):
            raise ClientDisconnected from None

    def release(self, body: bytes) -> None:
        """The body is no longer held."""
        if len(body) > SMALL:
            self._room += len(body)

    async def _piece_by_piece(self, proto: HTTPProtocol) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in proto:
                size += len(piece)
                self._room -= len(piece)
                pieces.append(piece)
                if self._room < 0:
                    raise DoorFull("too many large bodies at once")
                if size > self._limit:
                    break
        finally:
            self._room += size
        body = b"".join(pieces)
        if size > SMALL:
            self._room -= size
        return body
