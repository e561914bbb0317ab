"""What the small Front's ledger and our rows say together about everything that was sent."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.stack import Stack

FIGURES = ("sent", "acknowledged", "effects", "repeated", "unserved", "seconds_to_effect")
FAILINGS = ("lost", "double", "ghost", "wrong_token")


def judged(stack: Stack) -> tuple[int, ...]:
    """How many were lost, done twice, done unasked, how often a token went to the wrong company or host."""
    verdict, totals = stack.front.verdict(), stack.front.totals()
    print(f"verdict: { {name: verdict[name] for name in (*FAILINGS, *FIGURES)} }")
    print(f"door: {totals['statuses']}, under 2 s {totals['door_under_2s']}, calls too early {totals['early']}")
    if verdict["lost"] or verdict["double"] or verdict["ghost"]:
        print({name: verdict[name] for name in ("lost_events", "double_conversations", "ghost_conversations")})
    return (*(verdict[name] for name in FAILINGS), totals["leaked_token"])


def recorded_wrongly(stack: Stack) -> list[str]:
    """The acknowledged events that are not exactly one row."""
    rows = Counter(front_id for (front_id,) in stack.rows("SELECT front_id FROM events"))
    acknowledged = stack.front.acknowledged()
    print(f"rows: {rows.total()} events for {len(acknowledged)} acknowledged")
    return sorted(event_id for event_id in acknowledged if rows[event_id] != 1)
