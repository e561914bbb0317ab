"""Tells which requests are webhooks of which HTTP leaves nothing open: they need no framework. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from granian.rsgi import Scope

WEBHOOKS = "/webhooks/front"
LARGE = 256 * 1024  # bytes; what is larger would keep everybody waiting
ODD = frozenset({"content-encoding", "transfer-encoding", "upgrade"})  # what they ask for is not ours to judge
#: Flask refuses names that cannot be in the DNS.
HOST = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*(:[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


def headers_of_webhook(scope: Scope, body: bytes) -> dict[str, str] | None:
    """Its headers, when the body is just what they announce; None: the application's to judge, whatever it is."""
    if scope.method != "POST" or scope.path != WEBHOOKS or len(body) > LARGE:
        return None
    pairs = scope.headers.items()
    headers = dict(pairs)
    announced = len(headers) == len(pairs) and headers.get("content-length") == str(len(body))
    return headers if announced and ODD.isdisjoint(headers) and HOST.fullmatch(headers.get("host", "")) else None
