"""Says what is parked, since when, and what lets it go on."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from console.cli.times import spoken

if TYPE_CHECKING:
    from shared.db.reading.parked import Parked

#: What ends each cause; the work goes on by itself then.
RELEASES = {
    "unknown_company": "add and connect the tenant: `mailroom tenant add NAME --company cmp_…`",
    "needs_reconnect": "`mailroom tenant connect NAME` gives it a new token",
    "missing_scope": "give the app or token its permissions in Front; one task an hour tries",
    "paused": "`mailroom tenant resume NAME`",
    "erasing": "`mailroom tenant erase NAME` again, if nobody runs it now",
}


def parked_line(group: Parked, now: datetime, unclaimed_days: int) -> str:
    """How much waits for a cause, since when, and what to do; what nobody claims is deleted after so many days."""
    age = spoken((now - group.oldest_at).total_seconds())
    if group.cause == "unknown_company":
        amount = f"{group.events:,} of {_count(group.companies, 'company', 'companies')}, oldest {age}"
        amount += f"; deleted after {unclaimed_days} d" if unclaimed_days else "; kept for ever"
    else:
        amount = f"{group.events:,} of {_count(group.companies, 'tenant', 'tenants')}, parked {age}"
    return f"{amount}; {RELEASES.get(group.cause, 'released by itself')}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
