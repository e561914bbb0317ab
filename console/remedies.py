"""Words that status and doctor share: how each cause of parking ends, and lists that are cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.times import format_duration
from shared.models import MOST_COUNTED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.db.reading.status import RunningProcess

#: How each cause of parking ends; parked work then continues by itself.
REMEDIES: Mapping[str, str] = {
    "unknown_company": "add and connect the tenant: `mailroom tenant add NAME --company cmp_…`",
    "needs_reconnect": "`mailroom tenant connect NAME` gives it a new token",
    "missing_scope": "give the app or token its permissions in Front; one task an hour tries",
    "paused": "`mailroom tenant resume NAME`",
    "erasing": "`mailroom tenant erase NAME` again, if nobody runs it now",
}
MAX_NAMES = 5  # in one line


def names(each: list[str]) -> str:
    """Join the first names, and count the others."""
    more = f" and {len(each) - MAX_NAMES} more" if len(each) > MAX_NAMES else ""
    return ", ".join(each[:MAX_NAMES]) + more


def silence(processes: list[RunningProcess], now: datetime) -> str:
    """Name the processes that are silent, and for how long each has been."""
    return ", ".join(f"{each.name} for {format_duration((now - each.seen_at).total_seconds())}" for each in processes)


def capped(number: int) -> str:
    """Write a count of which nothing more is known than that it exceeds MOST_COUNTED."""
    return f"{MOST_COUNTED:,}+" if number > MOST_COUNTED else f"{number:,}"


def counted(number: int, one: str, many: str) -> str:
    """Return the count with the word in its form."""
    return f"{capped(number)} {one if number == 1 else many}"
