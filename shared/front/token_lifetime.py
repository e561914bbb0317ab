"""Decides when an access token expires, and whether a refresh is due. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from shared.front.envelope import parse_time

#: Front promises an hour. It is taken when an answer has no expiry, one in the past, or a later one.
LIFETIME: Final = timedelta(minutes=60)
#: A token is refreshed this long before it expires, or in the last quarter of a short life.
REFRESH_BEFORE: Final = timedelta(minutes=5)
_QUARTERS: Final = 4

Freshness = Literal["fresh", "expiring", "expired"]


def expiry(answer: Mapping[str, Any], *, now: datetime) -> datetime:
    """Return when the access token of an answer expires, at most an hour after `now`.

    Front's documents name `expires_at` but not its form. It may be in seconds, milliseconds or ISO text.
    """
    latest = now + LIFETIME
    for found in (parse_time(answer.get("expires_at")), _parse_duration(answer.get("expires_in"), now=now)):
        if found is not None and found > now:
            return min(found, latest)
    return latest


def freshness(*, issued_at: datetime, expires_at: datetime | None, now: datetime) -> Freshness:
    """Return how fresh a token is. An `expiring` token is still valid, and a refresh is due.

    A token without a known expiry stays fresh until Front refuses it.
    """
    if expires_at is None:
        return "fresh"
    if expires_at <= now:
        return "expired"
    margin = min(REFRESH_BEFORE, (expires_at - issued_at) / _QUARTERS)
    return "expiring" if expires_at - now <= margin else "fresh"


def _parse_duration(value: Any, *, now: datetime) -> datetime | None:
    seconds = _number(value)
    # The comparison comes first, because timedelta raises for NaN and for huge numbers.
    return now + timedelta(seconds=seconds) if seconds is not None and 0 < seconds < LIFETIME.total_seconds() else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
