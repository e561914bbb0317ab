"""Decides whether an access token is still good: pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

#: A token is refreshed this long before its end, or in the last quarter of a life that is short.
AHEAD = timedelta(minutes=5)
LAST_PART = 4

Freshness = Literal["fresh", "ending", "over"]


def freshness(*, given_at: datetime, expires_at: datetime | None, now: datetime) -> Freshness:
    """`ending`: still good, but a new one should be asked for. Without a known end Front's 401 will tell."""
    if expires_at is None:
        return "fresh"
    if expires_at <= now:
        return "over"
    ahead = min(AHEAD, (expires_at - given_at) / LAST_PART)
    return "ending" if expires_at - now <= ahead else "fresh"
