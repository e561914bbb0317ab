"""Decides when an access token ends and whether a new one is due: pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from shared.front.envelope import parse_time

#: Front promises an hour. An answer with a longer life, no end, or an end in the past counts as this.
LIFETIME: Final = timedelta(minutes=60)
#: A token is refreshed this long before its end, or in the last quarter of a short life.
REFRESH_AHEAD: Final = timedelta(minutes=5)
LAST_QUARTER: Final = 4

Freshness = Literal["fresh", "expiring", "expired"]


def expiry(answer: Mapping[str, Any], *, now: datetime) -> datetime:
    """Read the end of the access token from an answer that came at `now`; it is at most an hour away.

    Front's documents name `expires_at` but not its form. Seconds, milliseconds and ISO text are understood.
    """
    latest = now + LIFETIME
    for found in (_moment(answer.get("expires_at")), _after(answer.get("expires_in"), now=now)):
        if found is not None and found > now:
            return min(found, latest)
    return latest


def freshness(*, issued_at: datetime, expires_at: datetime | None, now: datetime) -> Freshness:
    """Tell how fresh a token is; `expiring` means that it is still good, and that a refresh is due.

    A token without a known end stays fresh until Front refuses it.
    """
    if expires_at is None:
        return "fresh"
    if expires_at <= now:
        return "expired"
    ahead = min(REFRESH_AHEAD, (expires_at - issued_at) / LAST_QUARTER)
    return "expiring" if expires_at - now <= ahead else "fresh"


def _moment(value: Any) -> datetime | None:
    found = parse_time(_number(value))
    if found is None and isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return None
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found


def _after(value: Any, *, now: datetime) -> datetime | None:
    seconds = _number(value)
    # The comparison comes first: a timedelta takes no NaN and no huge number.
    return now + timedelta(seconds=seconds) if seconds is not None and 0 < seconds < LIFETIME.total_seconds() else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
