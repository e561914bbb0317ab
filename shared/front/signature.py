"""Tells whether bytes come from Front: its signature, and the age of what it signed. Pure."""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import TYPE_CHECKING

from shared.errors import InvalidSignature, StaleTimestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DIGITS = 15
FUTURE_SECONDS = 60
SECONDS_BELOW = 10**12  # Front's older documents speak of seconds; as milliseconds this would be September 2001


def verify(body: bytes, *, timestamp: str, signature: str, keys: Sequence[bytes]) -> int:
    """Return the position of the key that signed `timestamp` and `body`. Raises InvalidSignature.

    The signature is base64(HMAC-SHA256(key, timestamp + ":" + body)), over the bytes as received. It is compared as
    text with the one canonical spelling, in a time that tells neither which key was tried nor how much fits.
    """
    signed = timestamp.encode("utf-8", "replace") + b":" + body
    given = signature.encode("utf-8", "replace")
    fits = [hmac.compare_digest(b64encode(hmac.digest(key, signed, "sha256")), given) for key in keys]
    if True not in fits:
        raise InvalidSignature(
            "X-Front-Signature does not fit the request; check FRONT_SIGNING_KEYS: it takes the app's signing key, "
            "not the OAuth client secret, and nothing on the way may change the body"
        )
    return fits.index(True)


def check_freshness(timestamp: str, *, now: float, window: float) -> None:
    """Accept a timestamp (milliseconds, or seconds by its size) up to `window` seconds old, 60 s ahead.

    Raises StaleTimestamp, also for what is no timestamp.
    """
    age = now - _seconds(timestamp)
    if age > window:
        raise StaleTimestamp(
            f"X-Front-Request-Timestamp is {age:.0f} s old; check this machine's clock, or raise FRESHNESS_SECONDS"
        )
    if age < -FUTURE_SECONDS:
        raise StaleTimestamp(f"X-Front-Request-Timestamp is {-age:.0f} s ahead; check this machine's clock")


def _seconds(timestamp: str) -> float:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= MAX_DIGITS):
        raise StaleTimestamp(f"X-Front-Request-Timestamp must be 1 to {MAX_DIGITS} digits: milliseconds since 1970")
    number = int(timestamp)
    return float(number) if number < SECONDS_BELOW else number / 1000
