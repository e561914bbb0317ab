"""Tenants beside each other: what a single event waits while others have backlogs, and whether budgets are kept."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from bench.flow.stage import BUDGET
from bench.harness.backlog import add_backlog, drop_backlog
from bench.harness.single_event import seconds_to_effect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.flow.stage import Stage

QUIET_TENANTS = 5
PROBES = 20
PROMISED_SECONDS = 2.0
WINDOW = 60.0
OVER_LIMIT = 429


def beside(stage: Stage, each: int) -> dict[str, Any]:
    """All tenants but five have a backlog of `each`; mail comes to the others, one after the other."""
    busy, quiet = stage.companies[:-QUIET_TENANTS], stage.companies[-QUIET_TENANTS:]
    began = time.time()
    waiting = add_backlog(stage.mailroom, busy, each)
    front = stage.mailroom.front
    seconds = sorted(seconds_to_effect(front, quiet[number % len(quiet)]) for number in range(PROBES))
    left = drop_backlog(stage.mailroom)
    stage.settle(120)
    broken = [] if left else ["the backlog ended before the last event: this shows nothing"]
    return {
        "tenants": len(stage.companies),
        "waiting": waiting,
        "event_p50_ms": round(seconds[len(seconds) // 2] * 1000, 1),
        "event_slowest_ms": round(seconds[-1] * 1000, 1),
        **within_budget(stage, began),
        "broken": broken,
    }


def within_budget(stage: Stage, since: float) -> dict[str, Any]:
    """How often Front said no, and the most that one company asked for within any minute."""
    calls = [call for call in stage.mailroom.front.calls() if call["at"] >= since]
    moments: dict[str, list[float]] = {}
    for call in calls:
        moments.setdefault(call["company"], []).append(call["at"])
    statuses = Counter(call["status"] for call in calls)
    most = max((most_in_a_window(sorted(each)) for each in moments.values()), default=0)
    return {"calls": len(calls), "refused": statuses[OVER_LIMIT], "most_calls_a_minute": most, "budget": BUDGET}


def most_in_a_window(moments: Sequence[float]) -> int:
    """The most of these moments, in their order, that lie within one minute."""
    most = first = 0
    for last, at in enumerate(moments):
        while moments[first] <= at - WINDOW:
            first += 1
        most = max(most, last - first + 1)
    return most
