"""Reads when an access token ends from whatever the token endpoint says about it: pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.front.envelope import parse_time

#: What Front promises. An answer that says more, nothing, or a time that is over is not believed.
LIFE: Final = timedelta(minutes=60)


def expiry(answer: Mapping[str, Any], *, now: datetime) -> datetime:
    """The end of the access token in an answer that came at `now`, at most an hour later.

    Front's documents name `expires_at` but not its form: seconds, milliseconds and ISO text are understood.
    """
    latest = now + LIFE
    for found in (_moment(answer.get("expires_at")), _after(answer.get("expires_in"), now=now)):
        if found is not None and found > now:
            return min(found, latest)
    return latest


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
    # Compared as numbers first: what is no number, or too large for a date, is not within the hour.
    return now + timedelta(seconds=seconds) if seconds is not None and 0 < seconds < LIFE.total_seconds() else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
