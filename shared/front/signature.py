"""Checks that a webhook comes from Front, by its signature and its age; and signs one as Front does. Pure."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from shared.errors import InvalidSignature, StaleTimestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMESTAMP_HEADER = "X-Front-Request-Timestamp"
SIGNATURE_HEADER = "X-Front-Signature"
CHALLENGE_HEADER = "X-Front-Challenge"
SHA1_BYTES, SHA256_BYTES = 20, 32
MAX_DIGITS = 15
MAX_AHEAD_SECONDS = 60
#: A smaller number is in seconds, as in Front's older documents. In milliseconds it would be before September 2001.
FIRST_MILLISECONDS = 10**12


def verify(body: bytes, *, timestamp: str, signature: str, keys: Sequence[bytes]) -> int:
    """Return the position of the key that signed `timestamp` and `body`. Raises InvalidSignature.

    The signature is base64(HMAC-SHA256(key, timestamp + ":" + body)) over the bytes as received. It is compared as
    text, in a time that depends neither on the key nor on the number of equal characters.
    """
    signed = timestamp.encode("utf-8", "replace") + b":" + body
    received = signature.encode("utf-8", "replace")
    matches = [hmac.compare_digest(b64encode(hmac.digest(key, signed, "sha256")), received) for key in keys]
    if True not in matches:
        raise InvalidSignature(_what_is_wrong(signature))
    return matches.index(True)


def _what_is_wrong(signature: str) -> str:
    """Say which part of the signature is wrong, by its form. No word of it is repeated."""
    try:
        size = len(b64decode(signature.encode("ascii"), validate=True))
    except ValueError:
        return "X-Front-Signature is not base64; check what signs the request, and what changes headers on the way"
    if size == SHA1_BYTES:
        return "X-Front-Signature is of SHA-1, as a webhook of a rule has it; use the webhooks of Front's app"
    if size != SHA256_BYTES:
        return f"X-Front-Signature has {size} bytes and not the {SHA256_BYTES} of SHA-256; check what signs the request"
    return (
        "X-Front-Signature does not fit the request; check FRONT_SIGNING_KEYS: it takes the app's signing key, "
        "not the OAuth client secret, and nothing on the way may change the body"
    )


def sign(body: bytes, *, timestamp: str, key: bytes) -> str:
    """Return the signature that `verify` takes for the timestamp and the body."""
    return b64encode(hmac.digest(key, timestamp.encode() + b":" + body, "sha256")).decode()


def check_freshness(timestamp: str, *, now: float, window: float) -> None:
    """Accept a timestamp that is up to `window` seconds old, or up to 60 s ahead. Raises StaleTimestamp.

    The timestamp is in milliseconds, or in seconds if it is small.
    """
    age = now - _seconds(timestamp)
    if age > window:
        raise StaleTimestamp(
            f"X-Front-Request-Timestamp is {age:.0f} s old; check this machine's clock, or raise FRESHNESS_SECONDS"
        )
    if age < -MAX_AHEAD_SECONDS:
        raise StaleTimestamp(f"X-Front-Request-Timestamp is {-age:.0f} s ahead; check this machine's clock")


def _seconds(timestamp: str) -> float:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= MAX_DIGITS):
        raise StaleTimestamp(
            f"X-Front-Request-Timestamp must be 1 to {MAX_DIGITS} digits: milliseconds or seconds since 1970"
        )
    number = int(timestamp)
    return float(number) if number < FIRST_MILLISECONDS else number / 1000
