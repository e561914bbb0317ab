"""Several recorders at once, each at a stream of its own: `./run bench record --recorders 1,2,4`."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING

from bench.harness.benchmark import report
from bench.harness.servers import both_servers
from bench.harness.webhooks import deliveries
from bench.record.benchmark import summarize
from bench.record.database import Case, fill
from bench.record.rounds import Round, Stores, read_line, running
from shared.intake.client import Intake
from workers.recording.prefetch import CHUNK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.harness.benchmark import Figures
    from bench.harness.servers import Servers
    from shared.models import Delivery

CASE, QUICK_CASE = Case(addresses=100_000), Case(addresses=10_000)
ROUNDS, QUICK_ROUNDS = 3, 1
#: Each recorder has several chunks to record, so that all work until near the end.
WEBHOOKS, QUICK_WEBHOOKS = 20_000, 3_000
PUT_AT_ONCE = 500
NOTE = (
    "Redis, PostgreSQL (both durable) and all recorders share the cores named in `machine`. `cores_busy` is their CPU"
    " time by the time that passed. More recorders record faster only while cores are free."
)


def recorders(counts: Sequence[int], *, quick: bool) -> Figures:
    """Measure each number of recorders in turns, each with as many streams, over webhooks of a thousand companies."""
    case, rounds = (QUICK_CASE, QUICK_ROUNDS) if quick else (CASE, ROUNDS)
    webhooks, seeds = QUICK_WEBHOOKS if quick else WEBHOOKS, itertools.count()
    done: defaultdict[int, list[Round]] = defaultdict(list)
    with both_servers() as (servers, folder), servers.fresh() as urls:
        fill(urls[0], case)
        with Stores(servers, urls, folder) as stores:
            for number, count in itertools.product(range(rounds), counts):
                made = list(deliveries(webhooks, addresses=case.addresses, seed=next(seeds)))
                done[count].append(_recorded(servers, stores, made, count))
                report(f"{number + 1}/{rounds} {count} recorders: {done[count][-1]}")
    return {
        "webhooks": webhooks,
        "rounds": rounds,
        "recorders": {str(count): {**summarize(each), "cores_busy": _cores_busy(each)} for count, each in done.items()},
        "note": NOTE,
        "broken": [
            f"{count} recorders: {each.unrecorded} webhooks without a row"
            for count, all_ in done.items()
            for each in all_
            if each.unrecorded
        ],
    }


def _cores_busy(rounds: Sequence[Round]) -> float:
    used = sum(each.cpu_seconds + each.postgres_cpu_seconds for each in rounds)
    return round(used / sum(each.seconds for each in rounds), 2)


def _recorded(servers: Servers, stores: Stores, made: list[Delivery], count: int) -> Round:
    """Record all of them by this many recorders, which begin at the same moment."""
    before, load = stores.last_event(), os.getloadavg()[0]
    _put(servers, made, count)
    stores.environment["INTAKE_STREAMS"] = str(count)
    command = [sys.executable, "-m", "bench.record.drain", str(CHUNK)]
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes = [stack.enter_context(running(command, stores, **pipes)) for _ in range(count)]
        outputs = [_output(each) for each in processes]
        for output in outputs:
            read_line(output)
        used, began = stores.postgres_cpu_seconds(), time.monotonic()
        for process in processes:
            _send_line(process)
        measured = [read_line(output) for output in outputs]
        seconds, used = time.monotonic() - began, stores.postgres_cpu_seconds() - used
        for process in processes:
            process.communicate()
    return Round(
        webhooks=sum(each["webhooks"] for each in measured),
        unrecorded=len(made) - stores.events_after(before),
        seconds=seconds,
        cpu_seconds=sum(each["cpu_seconds"] for each in measured),
        postgres_cpu_seconds=used,
        load_average=load,
    )


def _put(servers: Servers, made: list[Delivery], streams: int) -> None:
    with servers.redis() as client:
        intake = Intake(client, streams=streams)
        for begin in range(0, len(made), PUT_AT_ONCE):
            assert not any(intake.put(made[begin : begin + PUT_AT_ONCE]).refusals)


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout
    return process.stdout


def _send_line(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    process.stdin.write(b"go\n")
    process.stdin.flush()
