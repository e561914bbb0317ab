"""Parse the times that people type, and format times for them: pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
DURATION = re.compile(r"(\d{1,7})([smhdw])")
LONGEST = timedelta(days=3650)
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def parse_duration(text: str) -> timedelta:
    """Parse `90s`, `15m`, `2h`, `7d` or `1w`. Raises ValueError for anything else and for more than ten years."""
    match = DURATION.fullmatch(text.strip().lower())
    length = timedelta(seconds=int(match[1]) * SECONDS[match[2]]) if match else None
    if length is None or length > LONGEST:
        raise ValueError(f"{text!r} is no duration; write 90s, 15m, 2h, 7d or 1w")
    return length


def parse_since(text: str, now: datetime) -> datetime:
    """Parse a duration back from `now`, or an ISO 8601 time: in the zone of `now` unless it names an offset.

    Raises ValueError.
    """
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        since = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time; write 2h, 7d or 2026-03-01T08:00:00Z") from None
    since = since if since.tzinfo else since.replace(tzinfo=now.tzinfo)
    if not EARLIEST <= since <= LATEST:  # with another offset, PostgreSQL may hold what Python cannot
        raise ValueError(f"{text!r} is no time between {EARLIEST.year} and {LATEST.year}")
    return since


def format_duration(seconds: float) -> str:
    """Format a length of time in its two largest units: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 1 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, size, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = int(seconds % size // part)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds:.0f} s"


def typed_duration(length: timedelta) -> str:
    """Write a length of time as `parse_duration` reads it, in the largest unit that fits."""
    seconds = round(length.total_seconds())
    unit = next(name for name in ("w", "d", "h", "m", "s") if seconds % SECONDS[name] == 0)
    return f"{seconds // SECONDS[unit]}{unit}"


def format_time(at: datetime) -> str:
    """Format a moment in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def format_short_time(at: datetime) -> str:
    """Format a moment for a narrow column: as `format_time` without the year."""
    return at.astimezone(UTC).strftime("%m-%d %H:%M:%S")
