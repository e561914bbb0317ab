"""Reads a request's body as it came, or refuses to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import RequestEntityTooLarge

from shared.errors import BodyTooLarge, EncodedBody

if TYPE_CHECKING:
    from flask import Request

TOO_LARGE = "the body is over MAX_BODY_BYTES"


def read_body(request: Request) -> bytes:
    """The raw bytes. Raises BodyTooLarge before reading where Content-Length tells, EncodedBody for compressed ones.

    A body without Content-Length is counted while it is read.
    """
    limit = request.max_content_length
    if limit is not None and (request.content_length or 0) > limit:
        raise BodyTooLarge(TOO_LARGE)
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise EncodedBody("send the body without Content-Encoding: the door does not decompress")
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise BodyTooLarge(TOO_LARGE) from None
