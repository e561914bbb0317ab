"""What every door must check before it takes a webhook in; for the peers, with nothing but the standard library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time

KEY = os.environ.get("FRONT_SIGNING_KEYS", "").encode()
MAX_BODY_BYTES = 10 * 2**20
FRESH_SECONDS = 900
AHEAD_SECONDS = 60


def accepted(body: bytes, timestamp: str, signature: str) -> bool:
    """Whether these bytes were signed with our key, not too long ago."""
    digest = hmac.digest(KEY, timestamp.encode() + b":" + body, hashlib.sha256)
    return hmac.compare_digest(base64.b64encode(digest), signature.encode()) and _fresh(timestamp)


def _fresh(timestamp: str) -> bool:
    return timestamp.isdecimal() and -AHEAD_SECONDS <= time.time() - int(timestamp) / 1000 <= FRESH_SECONDS
