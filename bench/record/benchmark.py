"""The recorder over a full intake, beside a Celery task for each webhook, and over very many stored events."""

from __future__ import annotations

import itertools
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.harness.benchmark import OURS, Benchmark, report
from bench.harness.servers import both_servers
from bench.harness.webhooks import deliveries
from bench.record.database import Case, fill
from bench.record.rounds import Round, Stores, by_task_each, drained
from workers.recording.prefetch import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.harness.benchmark import Figures
    from bench.harness.servers import Servers
    from shared.models import Delivery

TASK_EACH = "task_each"
#: Our recorder under a profiler: good for the shares, not for a rate.
PROFILED = "ours_profiled"


@dataclass(frozen=True, kw_only=True)
class Length:
    """The number of rounds, and of webhooks in each; a task for each is slower and gets fewer."""

    rounds: int
    webhooks: int
    task_webhooks: int


#: The case that the promises are about.
HEADLINE = Case(addresses=1_000_000, chunks=(CHUNK, 50, 200), beside_tasks=True)
FULL = (
    HEADLINE,
    Case(addresses=1_000),
    Case(addresses=100_000),
    Case(addresses=1_000_000, stored=1_000_000),
)
FULL_LENGTH = Length(rounds=3, webhooks=5_000, task_webhooks=600)
QUICK = (Case(addresses=10_000, beside_tasks=True),)
QUICK_LENGTH = Length(rounds=2, webhooks=1_500, task_webhooks=400)
#: An empty database and a filled one, in turns.
FULL_STORED = (Case(addresses=1_000_000), Case(addresses=1_000_000, stored=5_000_000))
QUICK_STORED = (Case(addresses=10_000), Case(addresses=10_000, stored=100_000))
RECORD_NOTE = (
    "Redis, PostgreSQL (both durable) and recorder share the cores named in `machine`. All rounds of a case use one"
    " database. `task_each` runs our statements for one webhook at a time, with four threads. CPU is user and system"
    " time, in microseconds of one webhook."
)
STORED_NOTE = "Both databases are in one server and take turns; a ratio is between neighbours in time."


def record(*, quick: bool) -> Figures:
    """Measure each case in its own database, in rounds: each way once, then all again."""
    length, cases = (QUICK_LENGTH, QUICK) if quick else (FULL_LENGTH, FULL)
    with both_servers() as (servers, folder):
        rounds = {case: _rounds(servers, folder, case, length) for case in cases}
    sums = {
        case.name: {"contestants": {name: summarize(each) for name, each in ways.items()}}
        for case, ways in rounds.items()
    }
    headline = cases[0]
    return {
        "headline": headline.name,
        "ours_per_second": sums[headline.name]["contestants"][OURS]["events_per_second"],
        **ratios(rounds[headline]),
        **cpu_ratios(rounds[headline], {case.name: ways for case, ways in rounds.items() if case is not headline}),
        "shares_of_own_cpu": rounds[headline][PROFILED][0].shares,
        "cases": sums,
        "rounds": length.rounds,
        "webhooks": length.webhooks,
        "note": RECORD_NOTE,
        "broken": [
            f"{case.name}, {name}: {each.unrecorded} webhooks without a row"
            for case, ways in rounds.items()
            for name, all_ in ways.items()
            for each in all_
            if each.unrecorded
        ],
    }


@contextmanager
def _filled(servers: Servers, folder: Path, case: Case) -> Iterator[Stores]:
    """Run a database with the rows of the case, and an empty intake."""
    with servers.fresh() as urls:
        fill(urls[0], case)
        with Stores(servers, urls, folder) as stores:
            yield stores


def _rounds(servers: Servers, folder: Path, case: Case, length: Length) -> dict[str, list[Round]]:
    rounds: dict[str, list[Round]] = defaultdict(list)
    with _filled(servers, folder, case) as stores:
        seeds = itertools.count()
        for number in range(length.rounds):
            for name, way in _ways(stores, case, length):
                done = way(next(seeds))
                rounds[name].append(done)
                report(f"{case.name} {number + 1}/{length.rounds} {name}: {done}")
        if case.beside_tasks:
            rounds[PROFILED] = [drained(stores, _webhooks(case, length.webhooks, next(seeds)), CHUNK, shares=True)]
    return rounds


def _ways(stores: Stores, case: Case, length: Length) -> Iterator[tuple[str, Callable[[int], Round]]]:
    def drain(chunk: int, seed: int) -> Round:
        return drained(stores, _webhooks(case, length.webhooks, seed), chunk)

    if case.beside_tasks:
        yield TASK_EACH, lambda seed: by_task_each(stores, _webhooks(case, length.task_webhooks, seed))
    for chunk in case.chunks:
        yield OURS if chunk == CHUNK else f"chunks_of_{chunk}", partial(drain, chunk)


def _webhooks(case: Case, count: int, seed: int) -> list[Delivery]:
    """Return webhooks for the users of the case; other ones with another seed."""
    return list(deliveries(count, addresses=case.addresses, seed=seed))


def stored(*, quick: bool) -> Figures:
    """Measure how much more CPU an event costs when many are stored."""
    length, (empty, full) = (QUICK_LENGTH, QUICK_STORED) if quick else (FULL_LENGTH, FULL_STORED)
    rounds = _rounds_in_turns([empty, full], length)
    pairs = zip(rounds[full], rounds[empty], strict=True)
    return {
        f"{full.stored}_stored_to_none_cpu_ratio": round(
            median(there.cpu_us / here.cpu_us for there, here in pairs), 2
        ),
        "cases": {case.name: {"contestants": {OURS: summarize(each)}} for case, each in rounds.items()},
        "note": STORED_NOTE,
        "broken": [
            f"{case.name}: {each.unrecorded} webhooks without a row"
            for case, all_ in rounds.items()
            for each in all_
            if each.unrecorded
        ],
    }


def _rounds_in_turns(cases: list[Case], length: Length) -> dict[Case, list[Round]]:
    seeds = itertools.count()
    rounds: dict[Case, list[Round]] = {case: [] for case in cases}
    with both_servers() as (servers, folder), ExitStack() as open_:
        stores_of = {case: open_.enter_context(_filled(servers, folder, case)) for case in cases}
        for _ in range(length.rounds):
            for case, stores in stores_of.items():
                done = drained(stores, _webhooks(case, length.webhooks, next(seeds)), CHUNK)
                rounds[case].append(done)
                report(f"{case.name}: {done}")
    return rounds


def summarize(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return the medians of one way in one case."""
    return {
        "events_per_second": _median(each.per_second for each in rounds),
        "own_cpu_us_per_event": _median(each.own_cpu_us for each in rounds),
        "postgres_cpu_us_per_event": _median(each.postgres_cpu_us for each in rounds),
        "cpu_us_per_event": _median(each.cpu_us for each in rounds),
        "unrecorded": sum(each.unrecorded for each in rounds),
        "rounds_events_per_second": [round(each.per_second, 1) for each in rounds],
        "rounds_load_average": [round(each.load_average, 2) for each in rounds],
    }


def ratios(rounds: Mapping[str, Sequence[Round]]) -> dict[str, float]:
    """Return the ratios of rates and of CPU an event between ours and the tasks, each between neighbours in time."""
    pairs = list(zip(rounds.get(OURS, ()), rounds.get(TASK_EACH, ()), strict=True))
    return {
        f"ours_to_{TASK_EACH}_ratio": round(median(ours.per_second / tasks.per_second for ours, tasks in pairs), 2),
        f"{TASK_EACH}_to_ours_cpu_ratio": round(median(tasks.cpu_us / ours.cpu_us for ours, tasks in pairs), 2),
    }


def cpu_ratios(
    headline: Mapping[str, Sequence[Round]], others: Mapping[str, Mapping[str, Sequence[Round]]]
) -> dict[str, float]:
    """Return the CPU of an event in each other case, as a ratio to the headline's."""
    usual = median(each.cpu_us for each in headline[OURS])
    return {
        f"{name}_cpu_ratio": round(median(each.cpu_us for each in ways[OURS]) / usual, 2)
        for name, ways in others.items()
    }


def _median(values: Iterable[float]) -> float:
    return round(median(values), 1)


RECORD = Benchmark(name="record", measures="webhooks that become rows, beside a Celery task for each", run=record)
STORED = Benchmark(
    name="stored", measures="webhooks that become rows where five million are stored; takes long to fill", run=stored
)
