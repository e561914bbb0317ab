"""The recorder over very many stored events, beside an empty database in the same minutes."""

from __future__ import annotations

import itertools
import sys
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

from bench.benchmark import Benchmark
from bench.harness.servers import both_servers
from bench.record.benchmark import filled, webhooks
from bench.record.cases import FULL_LENGTH, QUICK_LENGTH, QUICK_STORED, STORED
from bench.record.figures import OURS, cost, summed_up, told
from bench.record.round import drained
from workers.recording.prefetch import CHUNK

if TYPE_CHECKING:
    from bench.benchmark import Figures
    from bench.record.cases import Case, Length
    from bench.record.round import Round

NOTE = "Both databases are in one server and take turns; a ratio is of neighbours in time."


def stored(*, quick: bool) -> Figures:
    """How much dearer an event is where many are stored."""
    length, (empty, full) = (QUICK_LENGTH, QUICK_STORED) if quick else (FULL_LENGTH, STORED)
    rounds = _rounds([empty, full], length)
    pairs = zip(rounds[full], rounds[empty], strict=True)
    return {
        f"{full.stored}_stored_to_none_cpu_ratio": round(median(cost(there) / cost(here) for there, here in pairs), 2),
        "cases": {case.name: {"contestants": {OURS: summed_up(each)}} for case, each in rounds.items()},
        "note": NOTE,
        "broken": [
            f"{case.name}: {each.unrecorded} webhooks are no rows"
            for case, all_ in rounds.items()
            for each in all_
            if each.unrecorded
        ],
    }


def _rounds(cases: list[Case], length: Length) -> dict[Case, list[Round]]:
    seeds = itertools.count()
    rounds: dict[Case, list[Round]] = {case: [] for case in cases}
    with both_servers() as (servers, folder), ExitStack() as open_:
        stages = {case: open_.enter_context(filled(servers, folder, case)) for case in cases}
        for _ in range(length.rounds):
            for case, stage in stages.items():
                done = drained(stage, webhooks(case, length.webhooks, next(seeds)), CHUNK)
                rounds[case].append(done)
                print(f"{case.name}: {told(done)}", file=sys.stderr, flush=True)
    return rounds


STORED_EVENTS = Benchmark(
    name="stored", measures="webhooks that become rows where five million are stored; filling takes long", do=stored
)
