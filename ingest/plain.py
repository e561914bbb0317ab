"""Tells which requests are webhooks of which HTTP leaves nothing open: they need no framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from granian.rsgi import Scope

WEBHOOKS = "/webhooks/front"
LARGE = 256 * 1024  # bytes; what is larger would keep everybody waiting


def headers_of_webhook(scope: Scope, body: bytes) -> dict[str, str] | None:
    """Its headers, when the body is just what they announce; None: the application's to judge, whatever it is."""
    if scope.method != "POST" or scope.path != WEBHOOKS or len(body) > LARGE:
        return None
    pairs = scope.headers.items()
    headers = dict(pairs)
    if len(headers) != len(pairs) or headers.get("content-length") != str(len(body)) or "content-encoding" in headers:
        return None
    return headers
