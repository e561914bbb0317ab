"""Signs notifications as Standard Webhooks 1.0 does, with one or more secrets of an endpoint. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
#: The specification allows 24 to 64 bytes.
_ALLOWED_BYTES: Final = range(24, 65)


def encode_secret(key: bytes) -> str:
    """Return the secret as people copy it into the host application. Raises ValueError for a length not allowed."""
    if len(key) not in _ALLOWED_BYTES:
        raise ValueError("a secret has 24 to 64 bytes")
    return PREFIX + base64.b64encode(key).decode()


def signed_headers(notification_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> Mapping[str, str]:
    """Return the three headers of Standard Webhooks, with one signature for each secret, the newest first.

    `timestamp` is the time of the attempt in Unix seconds. Raises ValueError for a secret that is none.
    """
    signed = b"%s.%d.%s" % (notification_id.encode(), timestamp, body)
    return {
        "webhook-id": notification_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(signed, secret)}" for secret in secrets),
    }


def _signature(signed: bytes, secret: str) -> str:
    return base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("the stored secret of an endpoint is not base64") from None
