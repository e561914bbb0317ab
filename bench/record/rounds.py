"""One way of recording, measured once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from bench.door.usage import cpu_seconds
from bench.harness.processes import wait_until
from bench.harness.procfile import ROOT
from bench.record.drain import SHARES
from bench.record.tasks_command import COMMAND, send

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.record.stage import Stage
    from shared.models import Delivery

READY_WITHIN = 60.0
RECORDED_WITHIN = 600.0
PIECE = 500
#: Of the tasks: by then the worker runs at its speed, and what starting it took is over.
WARM_UP = 0.2


@dataclass(frozen=True, kw_only=True)
class Round:
    """`unrecorded`: of the webhooks, whose event is no row. `load_average` is of the moment it began."""

    webhooks: int
    unrecorded: int
    seconds: float
    cpu_seconds: float
    postgres_cpu_seconds: float
    load_average: float
    shares: dict[str, float] = field(default_factory=dict)


def drained(stage: Stage, deliveries: list[Delivery], chunk: int, *, shares: bool = False) -> Round:
    """All of them by our recorder, from the inbox."""
    before, load = stage.last_event(), os.getloadavg()[0]
    for begin in range(0, len(deliveries), PIECE):
        stage.inbox.put(deliveries[begin : begin + PIECE])
    command = [sys.executable, "-m", "bench.record.drain", str(chunk), *([SHARES] if shares else [])]
    with _process(command, stage, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        _heard(process.stdout)
        used = stage.postgres_cpu_seconds()
        process.stdin.write(b"go\n")
        process.stdin.flush()
        told = _heard(process.stdout)
        used = stage.postgres_cpu_seconds() - used
        process.stdin.close()
        process.wait(READY_WITHIN)
    return Round(
        webhooks=told["webhooks"],
        unrecorded=len(deliveries) - stage.events_behind(before),
        seconds=told["seconds"],
        cpu_seconds=told["cpu_seconds"],
        postgres_cpu_seconds=used,
        load_average=load,
        shares=told["shares"],
    )


def worked_off(stage: Stage, deliveries: list[Delivery]) -> Round:
    """All of them by Celery, a task each; measured are those behind the warm-up."""
    before, load, total = stage.last_event(), os.getloadavg()[0], len(deliveries)
    send(stage.environment["REDIS_URL"], deliveries)
    with _process(COMMAND, stage, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        begun = _when(stage, before + round(total * WARM_UP), process.pid)
        ended = _when(stage, before + total, process.pid)
    return Round(
        webhooks=ended[0] - begun[0],
        unrecorded=total - stage.events_behind(before),
        seconds=ended[1] - begun[1],
        cpu_seconds=ended[2] - begun[2],
        postgres_cpu_seconds=ended[3] - begun[3],
        load_average=load,
    )


def _when(stage: Stage, events: int, pid: int) -> tuple[int, float, float, float]:
    """Events, time and CPU used at the moment when there are so many."""
    wait_until(lambda: stage.last_event() >= events, RECORDED_WITHIN, every=0.02)
    return stage.last_event(), time.monotonic(), cpu_seconds([pid]), stage.postgres_cpu_seconds()


@contextmanager
def _process(command: Iterable[str], stage: Stage, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(list(command), cwd=ROOT, env=stage.environment, **streams) as process:
        try:
            yield process
        finally:
            process.terminate()


def _heard(stream: IO[bytes]) -> dict[str, Any]:
    line = stream.readline()
    assert line, "the recorder ended; what it printed says why"
    heard: dict[str, Any] = json.loads(line)
    return heard
