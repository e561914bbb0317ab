"""Judge everything that was sent by the small Front's ledger and by our rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.stack import Stack

FIGURES = ("sent", "acknowledged", "effects", "repeated", "unserved", "seconds_to_effect")
VIOLATIONS = ("lost", "double", "ghost", "wrong_token")


def violation_counts(stack: Stack) -> tuple[int, ...]:
    """Return the counts of lost, repeated and unasked changes, of wrong tokens and of leaked tokens."""
    verdict, totals = stack.front.verdict(), stack.front.totals()
    print(f"verdict: { {name: verdict[name] for name in (*VIOLATIONS, *FIGURES)} }")
    print(f"door: {totals['statuses']}, under 2 s {totals['door_under_2s']}, calls too early {totals['early']}")
    if verdict["lost"] or verdict["double"] or verdict["ghost"]:
        print({name: verdict[name] for name in ("lost_events", "double_conversations", "ghost_conversations")})
    return (*(verdict[name] for name in VIOLATIONS), totals["leaked_token"])


def events_without_one_row(stack: Stack) -> list[str]:
    """Return the acknowledged events that do not have exactly one row."""
    rows = Counter(front_id for (front_id,) in stack.rows("SELECT front_id FROM events"))
    acknowledged = stack.front.acknowledged()
    print(f"rows: {rows.total()} events for {len(acknowledged)} acknowledged")
    return sorted(event_id for event_id in acknowledged if rows[event_id] != 1)
