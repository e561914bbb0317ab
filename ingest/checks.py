"""Decides about one webhook: from its headers and bytes to a delivery, a challenge or a refusal."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from ingest import door_metrics
from shared.errors import BodyTooLarge, ChallengeTooLong, EncodedBody, MissingSignature
from shared.front.signature import check_freshness, verify
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from wsgiref.types import WSGIEnvironment

    from shared.settings import Settings

MAX_CHALLENGE = 1000  # characters; an answer must not grow with the request

#: A `sync` has a type and a company, and is far smaller than any event. No larger body is looked into.
MAX_SYNC_BYTES = 1024

#: The headers that Front signs with, and their names in WSGI.
SIGNATURE_HEADERS = {
    "X-Front-Signature": "HTTP_X_FRONT_SIGNATURE",
    "X-Front-Request-Timestamp": "HTTP_X_FRONT_REQUEST_TIMESTAMP",
}

#: A delivery is to be kept, a challenge (in words) to be echoed. None: a `sync` without a challenge, nothing to keep.
Admitted: TypeAlias = Delivery | str | None


def announced(environ: WSGIEnvironment) -> int | None:
    """Return the length of the body; None for one in chunks."""
    length: str | None = environ.get("CONTENT_LENGTH")
    if length is None:
        return None if "HTTP_TRANSFER_ENCODING" in environ else 0
    return int(length.partition(",")[0])  # a second one is the same, or the server has refused it


def check_size(size: int, *, limit: int) -> None:
    """Refuse a body that is announced as larger than the limit, or has become larger while it came."""
    if size > limit:
        raise BodyTooLarge("the body is over MAX_BODY_BYTES")


def check_headers(headers: Mapping[str, Any]) -> None:
    """Refuse a webhook that needs no look at its body. Headers have WSGI's names. Raises Refused."""
    if headers.get("HTTP_CONTENT_ENCODING", "").strip().lower() not in {"", "identity"}:
        raise EncodedBody("send the body without Content-Encoding: the door does not decompress")
    if missing := [name for name, key in SIGNATURE_HEADERS.items() if not headers.get(key)]:
        raise MissingSignature(_missing(missing))


def _missing(names: list[str]) -> str:
    if names == ["X-Front-Request-Timestamp"]:
        return f"{names[0]} is missing: a webhook of a rule has none, and the door takes those of Front's app"
    be = "are" if len(names) > 1 else "is"
    return f"{' and '.join(names)} {be} missing: the door takes what Front has signed"


class Checks:
    """The checks of a body that is here, in the order that tells a stranger the least."""

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        self._keys = settings.signing_keys
        self._window = settings.freshness_seconds
        self._now = now

    def admit(self, headers: Mapping[str, Any], body: bytes) -> Admitted:
        """Say what to do with a webhook. Headers have WSGI's names. Raises Refused."""
        check_headers(headers)
        received = self._now()
        timestamp, signature = headers["HTTP_X_FRONT_REQUEST_TIMESTAMP"], headers["HTTP_X_FRONT_SIGNATURE"]
        position = verify(body, timestamp=timestamp, signature=signature, keys=self._keys)
        door_metrics.signing_keys(position).inc()
        check_freshness(timestamp, now=received, window=self._window)
        challenge: str | None = headers.get("HTTP_X_FRONT_CHALLENGE")
        if challenge is not None:
            return _echo(challenge)
        return None if _is_sync(body) else _new_delivery(received, body)


def _echo(challenge: str) -> str:
    if len(challenge) > MAX_CHALLENGE:
        raise ChallengeTooLong(f"X-Front-Challenge is over {MAX_CHALLENGE} characters")
    return challenge


def _is_sync(body: bytes) -> bool:
    """Whether a small body only tests the door. The recorder drops larger ones."""
    if len(body) > MAX_SYNC_BYTES or b"sync" not in body:
        return False
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("type") == "sync" and not content.get("payload")


def _new_delivery(received: float, body: bytes) -> Delivery:
    # The id is unique, not secret: `random` is reseeded in every fork, and needs no system call.
    return Delivery(f"{random.getrandbits(128):032x}", datetime.fromtimestamp(received, UTC), body)
