"""The recorder over what waits in the intake, and beside it the same rows by a Celery task for each webhook."""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.benchmark import Benchmark
from bench.harness.servers import both_servers
from bench.record.cases import FULL, FULL_LENGTH, QUICK, QUICK_LENGTH
from bench.record.figures import OURS, PROFILED, TASK_EACH, dearer, ratios, summed_up, told
from bench.record.filling import fill
from bench.record.round import drained, worked_off
from bench.record.stage import Stage
from bench.record.webhooks import deliveries
from workers.recording.prefetch import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.benchmark import Figures
    from bench.harness.servers import Servers
    from bench.record.cases import Case, Length
    from bench.record.round import Round
    from shared.models import Delivery

NOTE = (
    "Redis, PostgreSQL (both durable) and recorder share the cores named in `machine`. The first round of a case begins"
    " with its database as it was filled, the others go on in it. `task_each` runs our statements, one webhook at a"
    " time, with four threads. CPU is user and system time, in microseconds of one webhook."
)


def record(*, quick: bool) -> Figures:
    """Each case in a database of its own; within it each way once, then all again."""
    length, cases = (QUICK_LENGTH, QUICK) if quick else (FULL_LENGTH, FULL)
    with both_servers() as (servers, folder):
        rounds = {case: _rounds(servers, folder, case, length) for case in cases}
    sums = {
        case.name: {"contestants": {name: summed_up(each) for name, each in ways.items()}}
        for case, ways in rounds.items()
    }
    headline = cases[0]
    return {
        "headline": headline.name,
        "ours_per_second": sums[headline.name]["contestants"][OURS]["events_per_second"],
        **ratios(rounds[headline]),
        **dearer(rounds[headline], {case.name: ways for case, ways in rounds.items() if case is not headline}),
        "shares_of_own_cpu": rounds[headline][PROFILED][0].shares,
        "cases": sums,
        "rounds": length.rounds,
        "webhooks": length.webhooks,
        "note": NOTE,
        "broken": [
            f"{case.name}, {name}: {each.unrecorded} webhooks are no rows"
            for case, ways in rounds.items()
            for name, all_ in ways.items()
            for each in all_
            if each.unrecorded
        ],
    }


@contextmanager
def filled(servers: Servers, folder: Path, case: Case) -> Iterator[Stage]:
    """A database of its own with all that the case has in it before."""
    with servers.fresh() as urls:
        fill(urls[0], case)
        with Stage(servers, urls, folder) as stage:
            yield stage


def _rounds(servers: Servers, folder: Path, case: Case, length: Length) -> dict[str, list[Round]]:
    rounds: dict[str, list[Round]] = defaultdict(list)
    with filled(servers, folder, case) as stage:
        seeds = itertools.count()
        for number in range(length.rounds):
            for name, way in _ways(stage, case, length):
                done = way(next(seeds))
                rounds[name].append(done)
                print(f"{case.name} {number + 1}/{length.rounds} {name}: {told(done)}", file=sys.stderr, flush=True)
        if case.beside_tasks:
            rounds[PROFILED] = [drained(stage, webhooks(case, length.webhooks, next(seeds)), CHUNK, shares=True)]
    return rounds


def _ways(stage: Stage, case: Case, length: Length) -> Iterator[tuple[str, Callable[[int], Round]]]:
    def drain(chunk: int, seed: int) -> Round:
        return drained(stage, webhooks(case, length.webhooks, seed), chunk)

    if case.beside_tasks:
        yield TASK_EACH, lambda seed: worked_off(stage, webhooks(case, length.task_webhooks, seed))
    for chunk in case.chunks:
        yield OURS if chunk == CHUNK else f"chunks_of_{chunk}", partial(drain, chunk)


def webhooks(case: Case, count: int, seed: int) -> list[Delivery]:
    """So many for the users of the case; other ones with another seed."""
    return list(deliveries(count, addresses=case.addresses, seed=seed))


RECORD = Benchmark(name="record", measures="webhooks that become rows, beside a Celery task for each", do=record)
