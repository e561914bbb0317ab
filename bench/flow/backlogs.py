"""Backlogs: the rate at which one worker finishes them, and the wait of other tenants' events meanwhile."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from bench.flow.fixture import BUDGET
from bench.harness.mail import seconds_to_change
from bench.harness.mailroom import OPEN, add_backlog, drop_backlog
from bench.harness.timing import middle_rate
from bench.harness.usage import CpuByKind, memory_mb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.flow.fixture import Fixture

SAMPLE_SECONDS = 0.5
QUIET_TENANTS = 5
PROBES = 20
PROMISED_SECONDS = 2.0
MINUTE = 60.0
OVER_LIMIT = 429


def drain(on: Fixture, tasks: int, within: float) -> dict[str, Any]:
    """Add waiting actions without a worker, then start one, which must finish them `within` these seconds."""
    platform = on.mailroom.platform
    problems = platform.stop("worker")
    assert not problems, problems
    waiting = add_backlog(on.mailroom, on.companies, tasks // len(on.companies))
    began, costs = time.time(), CpuByKind(on.servers, platform)
    platform.procfile({"web": 0, "recorder": 0, "sweeper": 0}, pool="threads")
    memory, loads = _sampled(on, began + within)
    took = time.time() - began
    return {
        "tasks": waiting,
        "drain_seconds": round(took, 1),
        "tasks_per_second": round(waiting / took, 1),
        "calls_per_second": round(middle_rate(_calls(on, began)), 1),
        "worker_memory_mb": round(max(memory), 1),
        "worker_memory_first_half_mb": round(max(memory[: max(1, len(memory) // 2)]), 1),
        "cpu_seconds_per_1000": costs.each_1000(waiting),
        "load_average": round(max(loads), 2),
    }


def _sampled(on: Fixture, deadline: float) -> tuple[list[float], list[float]]:
    memory, loads = [], []
    while on.mailroom.rows(f"SELECT count(*) FROM tasks WHERE {OPEN}")[0][0]:
        assert time.time() < deadline, "the backlog is not done in time"
        memory.append(memory_mb(on.mailroom.platform.pids("worker")))
        loads.append(os.getloadavg()[0])
        time.sleep(SAMPLE_SECONDS)
    return memory, loads


def _calls(on: Fixture, since: float) -> list[float]:
    return [call["at"] for call in on.mailroom.front.calls() if call["at"] >= since]


def event_beside_backlogs(on: Fixture, each: int) -> dict[str, Any]:
    """Give all tenants but five a backlog of `each`, and time single events of the others."""
    busy, quiet = on.companies[:-QUIET_TENANTS], on.companies[-QUIET_TENANTS:]
    began = time.time()
    waiting = add_backlog(on.mailroom, busy, each)
    front = on.mailroom.front
    seconds = sorted(seconds_to_change(front, quiet[number % len(quiet)]) for number in range(PROBES))
    left = drop_backlog(on.mailroom)
    on.settle(120)
    broken = [] if left else ["the backlog ended before the last event: this measures nothing"]
    return {
        "tenants": len(on.companies),
        "waiting": waiting,
        "event_p50_ms": round(seconds[len(seconds) // 2] * 1000, 1),
        "event_slowest_ms": round(seconds[-1] * 1000, 1),
        **_use_of_budget(on, began),
        "broken": broken,
    }


def _use_of_budget(on: Fixture, since: float) -> dict[str, Any]:
    """Count the calls that Front refused, and the most calls of one company within any minute."""
    calls = [call for call in on.mailroom.front.calls() if call["at"] >= since]
    moments: dict[str, list[float]] = {}
    for call in calls:
        moments.setdefault(call["company"], []).append(call["at"])
    statuses = Counter(call["status"] for call in calls)
    most = max((most_in_a_minute(sorted(each)) for each in moments.values()), default=0)
    return {"calls": len(calls), "refused": statuses[OVER_LIMIT], "most_calls_a_minute": most, "budget": BUDGET}


def most_in_a_minute(moments: Sequence[float]) -> int:
    """Return the most of these ordered moments that lie within one minute."""
    most = first = 0
    for last, at in enumerate(moments):
        while moments[first] <= at - MINUTE:
            first += 1
        most = max(most, last - first + 1)
    return most
