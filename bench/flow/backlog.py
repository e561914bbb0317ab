"""Work that waits for workers: how fast it goes, and in how much memory."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from bench.door.usage import memory_mb
from bench.flow.costs import Costs
from bench.flow.moments import middle_rate
from bench.harness.backlog import add_backlog

if TYPE_CHECKING:
    from bench.flow.stage import Stage

OPEN = "SELECT count(*) FROM tasks WHERE state IN ('ready', 'queued', 'running')"
LOOKS_EVERY = 0.5


def drain(stage: Stage, tasks: int, within: float) -> dict[str, Any]:
    """Let so many actions wait without a worker, then start one; `within` seconds it must be done."""
    platform = stage.mailroom.platform
    problems = platform.stop("worker")
    assert not problems, problems
    waiting = add_backlog(stage.mailroom, stage.companies, tasks // len(stage.companies))
    began, costs = time.time(), Costs(stage.servers, platform)
    platform.procfile({"web": 0, "recorder": 0, "sweeper": 0}, pool="threads")
    memory, loads = _watched(stage, began + within)
    took = time.time() - began
    return {
        "tasks": waiting,
        "drain_seconds": round(took, 1),
        "tasks_per_second": round(waiting / took, 1),
        "calls_per_second": round(middle_rate(_calls(stage, began)), 1),
        "worker_memory_mb": round(max(memory), 1),
        "worker_memory_first_half_mb": round(max(memory[: max(1, len(memory) // 2)]), 1),
        "cpu_seconds_per_1000": costs.each_1000(waiting),
        "load_average": round(max(loads), 2),
    }


def _watched(stage: Stage, deadline: float) -> tuple[list[float], list[float]]:
    memory, loads = [], []
    while stage.mailroom.rows(OPEN)[0][0]:
        assert time.time() < deadline, "the backlog is not done in time"
        memory.append(memory_mb(stage.mailroom.platform.pids("worker")))
        loads.append(os.getloadavg()[0])
        time.sleep(LOOKS_EVERY)
    return memory, loads


def _calls(stage: Stage, since: float) -> list[float]:
    return [call["at"] for call in stage.mailroom.front.calls() if call["at"] >= since]
