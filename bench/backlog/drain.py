"""What waits in the intake, worked off as the Procfile has it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.backlog.figures import highest_memory, tenths
from bench.backlog.looks import looks_until_done
from bench.flow.costs import Costs
from bench.flow.moments import middle_rate
from bench.flow.sending import first_changes

if TYPE_CHECKING:
    from bench.flow.stage import Stage

RECORDED = "SELECT extract(epoch FROM max(recorded_at))::float8 FROM events"


def drain(stage: Stage, webhooks: int, within: float) -> dict[str, Any]:
    """Start what is behind the door and look until nothing is left to do; `settled`: whether that was so in time."""
    platform = stage.mailroom.platform
    began, costs = time.time(), Costs(stage.servers, platform)
    platform.procfile({"web": 0}, pool="threads")
    looks = looks_until_done(stage.mailroom, began + within)
    used = costs.each_1000(webhooks)
    [(recorded,)] = stage.mailroom.rows(RECORDED)
    calls = [call for call in stage.mailroom.front.calls() if call["at"] >= began]
    changes = list(first_changes(calls).values())
    return {
        "drain_rows_seconds": round((recorded or began) - began, 1),
        "drain_seconds": round(max(changes, default=began) - began, 1),
        "changes_per_second": round(middle_rate(changes), 1),
        "calls_per_second": round(middle_rate([call["at"] for call in calls]), 1),
        **highest_memory(looks),
        "redis_memory_mb": _redis_peak_mb(stage),
        "slowest_look_ms": round(max(look.took for look in looks) * 1000, 1),
        "changes": len(changes),
        "calls": len(calls),
        "tenths": tenths(changes, began),
        "cpu_seconds_per_1000": used,
        "load_average": round(max(look.load_average for look in looks), 2),
        "settled": not looks[-1].is_open,
    }


def _redis_peak_mb(stage: Stage) -> float:
    """As the server itself keeps it, since it was started."""
    with stage.mailroom.redis() as client:
        memory: Any = client.info("memory")
    return round(int(memory["used_memory_peak"]) / 2**20, 1)
