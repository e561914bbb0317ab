"""One contestant under one load, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.door.order import Order, Outcome
from bench.door.usage import cpu_seconds, memory_mb

if TYPE_CHECKING:
    from bench.door.cases import Case
    from bench.door.contestants import Contestant
    from bench.door.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Length:
    """How often each case is measured, and for how long."""

    rounds: int
    seconds: float
    warm_up_seconds: float


@dataclass(frozen=True, kw_only=True)
class Round:
    """`missing`: accepted with 200 and not in the queue afterwards. CPU is for 1,000 accepted ones."""

    outcome: Outcome
    missing: int
    cpu_seconds_per_1000: float
    redis_cpu_seconds_per_1000: float
    memory_mb: float
    load_average: float


def measure(stage: Stage, contestant: Contestant, case: Case, length: Length) -> Round:
    """Empty the queues, load it, and count."""
    stage.clear(case.appendfsync)
    own, redis = stage.pids(contestant), stage.redis_pids
    before = cpu_seconds(own), cpu_seconds(redis)
    outcome = _send(_order(stage, contestant, case, length))
    used, used_by_redis = cpu_seconds(own) - before[0], cpu_seconds(redis) - before[1]
    kept = stage.kept(contestant)
    thousands = max(outcome.accepted, 1) / 1000
    return Round(
        outcome=outcome,
        missing=0 if kept is None else max(0, outcome.accepted - kept),
        cpu_seconds_per_1000=used / thousands,
        redis_cpu_seconds_per_1000=used_by_redis / thousands,
        memory_mb=memory_mb(own),
        load_average=os.getloadavg()[0],
    )


def _order(stage: Stage, contestant: Contestant, case: Case, length: Length) -> Order:
    return Order(
        port=stage.port(contestant),
        key=stage.key,
        body_bytes=case.body_bytes,
        connections=case.connections,
        per_second=case.per_second,
        seconds=length.seconds,
        warm_up_seconds=length.warm_up_seconds,
    )


def _send(order: Order) -> Outcome:
    command = [sys.executable, "-m", "bench.door.load"]
    sent = subprocess.run(command, input=json.dumps(asdict(order)), stdout=subprocess.PIPE, text=True, check=True)
    return Outcome(**json.loads(sent.stdout))
