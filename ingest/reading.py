"""Reads a request's body as it came, or refuses to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import ClientDisconnected

from shared.errors import BodyTooLarge, EncodedBody

if TYPE_CHECKING:
    from typing import IO

    from flask import Request

PIECE = 64 * 1024


def read_body(request: Request, limit: int) -> bytes:
    """The raw bytes, at most `limit`. Raises BodyTooLarge, EncodedBody for compressed ones, ClientDisconnected.

    Too large is told from Content-Length where there is one; a body without it (chunked) is counted while it comes.
    """
    length = request.content_length
    if length is not None and length > limit:
        raise _too_large()
    if request.environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() not in {"", "identity"}:
        raise EncodedBody("send the body without Content-Encoding: the door does not decompress")
    # Not request.get_data(): it cuts a chunked body at the limit and says nothing (werkzeug 3.1).
    return _read_counting(request.stream, limit) if length is None else _read_whole(request.stream, length)


def _read_whole(stream: IO[bytes], length: int) -> bytes:
    body = stream.read(length)
    if len(body) != length:
        raise ClientDisconnected
    return body


def _read_counting(stream: IO[bytes], limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := stream.read(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise _too_large()
    return b"".join(pieces)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge("the body is over MAX_BODY_BYTES")
