"""The door beside others: same machine, same minutes, same Redis, same checks, as many processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.door.contestants import CONTESTANTS, Doors
from bench.door.load import Order, Outcome
from bench.harness.benchmark import OURS, Benchmark, report
from bench.harness.servers import both_servers
from bench.harness.usage import cpu_seconds, memory_mb
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bench.door.contestants import Contestant
    from bench.harness.benchmark import Figures


@dataclass(frozen=True, kw_only=True)
class Case:
    """The load on the doors; `per_second` 0 is closed load. `with_limits` adds the servers that keep nothing."""

    body_bytes: int = 2_400
    connections: int = 32
    appendfsync: str = "always"
    per_second: int = 0
    with_limits: bool = False

    @property
    def name(self) -> str:
        """The name of the case in the result."""
        load = f"open_{self.per_second}_a_second" if self.per_second else "closed"
        return f"{load}_{self.body_bytes}_bytes_{self.connections}_connections_{self.appendfsync}"


#: The case that the promises are about.
HEADLINE = Case(with_limits=True)
QUICK = (HEADLINE,)
FULL = (
    HEADLINE,
    Case(connections=1),
    Case(connections=256),
    Case(body_bytes=60_000),
    Case(per_second=300),
    Case(appendfsync="everysec"),
)


@dataclass(frozen=True, kw_only=True)
class Length:
    """The number of rounds of each case, and the seconds of each round."""

    rounds: int
    seconds: float
    warm_up_seconds: float


QUICK_LENGTH = Length(rounds=3, seconds=0.8, warm_up_seconds=0.3)
FULL_LENGTH = Length(rounds=3, seconds=3.0, warm_up_seconds=0.7)
#: The contestants that need nothing beside our own packages.
IN_QUICK = {OURS, "ceiling", "textbook"}
NOTE = (
    "Sender, Redis and servers share the cores named in `machine`; `sender_cpu_share` is of one core. No recorder runs:"
    " the queues only fill. Webhooks are signed before and sent again; each contestant checks signature, age and size."
)


@dataclass(frozen=True, kw_only=True)
class Round:
    """One contestant under one load, once. `missing` were accepted with 200 and are not in the queue afterwards."""

    outcome: Outcome
    missing: int
    cpu_seconds_per_1000: float
    redis_cpu_seconds_per_1000: float
    memory_mb: float
    load_average: float

    def __str__(self) -> str:
        rate, errors = self.outcome.answers_per_second, self.outcome.errors
        return f"{rate:,.0f} answers/s, {errors} errors, {self.missing} missing, load average {self.load_average:.2f}"


def door(*, quick: bool) -> Figures:
    """Measure all cases in rounds: each contestant once, then all again."""
    length = QUICK_LENGTH if quick else FULL_LENGTH
    chosen = [each for each in CONTESTANTS if each.name in IN_QUICK or not quick]
    with _doors() as doors:
        present = doors.start(chosen)
        rounds = {case: _rounds(doors, case, present, length) for case in (QUICK if quick else FULL)}
        return _figures(doors, present, length, rounds)


@contextmanager
def _doors() -> Iterator[Doors]:
    processes = Settings.model_fields["web_concurrency"].default
    with (
        both_servers() as (servers, folder),
        servers.fresh() as urls,
        Doors(servers, urls, folder, processes=processes) as doors,
    ):
        yield doors


def _rounds(doors: Doors, case: Case, present: Sequence[Contestant], length: Length) -> dict[str, list[Round]]:
    chosen = [each for each in present if case.with_limits or not each.is_limit]
    rounds: dict[str, list[Round]] = {each.name: [] for each in chosen}
    for number in range(length.rounds):
        for contestant in chosen:
            done = measure(doors, contestant, case, length)
            rounds[contestant.name].append(done)
            report(f"{case.name} {number + 1}/{length.rounds} {contestant.name}: {done}")
    return rounds


def _figures(
    doors: Doors, present: Sequence[Contestant], length: Length, rounds: dict[Case, dict[str, list[Round]]]
) -> Figures:
    cases: dict[str, Figures] = {
        case.name: {"contestants": _sums(all_), **ratios(all_)} for case, all_ in rounds.items()
    }
    sums = cases[HEADLINE.name]["contestants"]
    missing = {name: _missing(name, rounds.values()) for name in sums}
    return {
        "headline": HEADLINE.name,
        **{f"{name}_per_second": each["answers_per_second"] for name, each in sums.items()},
        **{f"{name}_p99_ms": each["answers_p99_ms"] for name, each in sums.items()},
        **ratios(rounds[HEADLINE]),
        "missing": missing[OURS],
        "cases": cases,
        "processes": doors.processes,
        "rounds": length.rounds,
        "seconds": length.seconds,
        "titles": {each.name: each.title for each in present},
        "left_out": doors.left_out,
        "note": NOTE,
        "broken": [f"{name}: {count} accepted and not in the queue" for name, count in missing.items() if count],
    }


def _missing(name: str, cases: Iterable[dict[str, list[Round]]]) -> int:
    return sum(each.missing for case in cases for each in case.get(name, []))


def _sums(rounds: dict[str, list[Round]]) -> dict[str, Figures]:
    return {name: summarize(each) for name, each in rounds.items()}


def measure(doors: Doors, contestant: Contestant, case: Case, length: Length) -> Round:
    """Empty the queues, load the contestant, and count what it kept."""
    doors.clear(case.appendfsync)
    own, redis = doors.pids(contestant), doors.redis_pids
    before = cpu_seconds(own), cpu_seconds(redis)
    outcome = _send(_order(doors, contestant, case, length))
    used, used_by_redis = cpu_seconds(own) - before[0], cpu_seconds(redis) - before[1]
    kept = doors.count_kept(contestant)
    thousands = max(outcome.accepted, 1) / 1000
    return Round(
        outcome=outcome,
        missing=0 if kept is None else max(0, outcome.accepted - kept),
        cpu_seconds_per_1000=used / thousands,
        redis_cpu_seconds_per_1000=used_by_redis / thousands,
        memory_mb=memory_mb(own),
        load_average=os.getloadavg()[0],
    )


def _order(doors: Doors, contestant: Contestant, case: Case, length: Length) -> Order:
    return Order(
        port=doors.port(contestant),
        key=doors.key,
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


def summarize(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return the medians of a contestant's rounds in one case, and the sums of errors and missing webhooks."""
    outcomes = [each.outcome for each in rounds]
    return {
        "answers_per_second": round(median(each.answers_per_second for each in outcomes), 1),
        "answers_p50_ms": round(median(each.p50_ms for each in outcomes), 2),
        "answers_p95_ms": round(median(each.p95_ms for each in outcomes), 2),
        "answers_p99_ms": round(median(each.p99_ms for each in outcomes), 2),
        "accepted": sum(each.accepted for each in outcomes),
        "errors": sum(each.errors for each in outcomes),
        "missing": sum(each.missing for each in rounds),
        "cpu_seconds_per_1000": round(median(each.cpu_seconds_per_1000 for each in rounds), 4),
        "redis_cpu_seconds_per_1000": round(median(each.redis_cpu_seconds_per_1000 for each in rounds), 4),
        "memory_mb": round(max(each.memory_mb for each in rounds), 1),
        "sender_cpu_share": round(median(each.sender_cpu_share for each in outcomes), 2),
        "rounds_answers_per_second": [round(each.answers_per_second, 1) for each in outcomes],
        "rounds_load_average": [round(each.load_average, 2) for each in rounds],
    }


def ratios(rounds: Mapping[str, Sequence[Round]]) -> dict[str, float]:
    """Compare ours with each other: `ours_to_NAME_ratio` of rates, `NAME_to_ours_cpu_ratio` of CPU an answer.

    Ratios are taken within each round, between neighbours in time, so that other load on the machine meets both.
    """
    found: dict[str, float] = {}
    for name in rounds:
        if name != OURS:
            pairs = list(zip(rounds[OURS], rounds[name], strict=True))
            found[f"ours_to_{name}_ratio"] = _rates(pairs)
            found[f"{name}_to_ours_cpu_ratio"] = _costs(pairs)
    return found


def _rates(pairs: Sequence[tuple[Round, Round]]) -> float:
    quotients = [_quotient(a.outcome.answers_per_second, b.outcome.answers_per_second) for a, b in pairs]
    return round(median(quotients), 3)


def _costs(pairs: Sequence[tuple[Round, Round]]) -> float:
    return round(median(_quotient(b.cpu_seconds_per_1000, a.cpu_seconds_per_1000) for a, b in pairs), 3)


def _quotient(a: float, b: float) -> float:
    return a / b if b else 0.0


DOOR = Benchmark(name="door", measures="answers of the door, beside other doors and an empty one", run=door)
