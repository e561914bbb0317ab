"""The door beside others: same machine, same minutes, same Redis, same checks, as many processes."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.benchmark import Benchmark
from bench.door.cases import FULL, HEADLINE, QUICK
from bench.door.contestants import CONTESTANTS
from bench.door.figures import OURS, ratios, summed_up
from bench.door.round import Length, measure
from bench.door.stage import Stage
from bench.harness.servers import both_servers
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.benchmark import Figures
    from bench.door.cases import Case
    from bench.door.contestants import Contestant
    from bench.door.round import Round

QUICK_LENGTH = Length(rounds=3, seconds=0.8, warm_up_seconds=0.3)
FULL_LENGTH = Length(rounds=3, seconds=3.0, warm_up_seconds=0.7)
#: Who needs nothing that is not installed already; the others are for those who have time.
IN_QUICK = {OURS, "ceiling", "textbook"}
NOTE = (
    "Sender, Redis and servers share the cores named in `machine`; `sender_cpu_share` is of one core. No recorder runs:"
    " the queues only fill. Webhooks are signed ahead and sent again; each contestant checks signature, age and size."
)


def door(*, quick: bool) -> Figures:
    """All cases, in turns: each contestant once, then all again."""
    length = QUICK_LENGTH if quick else FULL_LENGTH
    chosen = [each for each in CONTESTANTS if each.name in IN_QUICK or not quick]
    with _stage() as stage:
        present = stage.start(chosen)
        rounds = {case: _rounds(stage, case, present, length) for case in (QUICK if quick else FULL)}
        return _figures(stage, present, length, rounds)


@contextmanager
def _stage() -> Iterator[Stage]:
    processes = Settings.model_fields["web_concurrency"].default
    with (
        both_servers() as (servers, folder),
        servers.fresh() as urls,
        Stage(servers, urls, folder, processes=processes) as stage,
    ):
        yield stage


def _rounds(stage: Stage, case: Case, present: Sequence[Contestant], length: Length) -> dict[str, list[Round]]:
    doors = [each for each in present if case.with_limits or not each.is_limit]
    rounds: dict[str, list[Round]] = {each.name: [] for each in doors}
    for number in range(length.rounds):
        for contestant in doors:
            done = measure(stage, contestant, case, length)
            rounds[contestant.name].append(done)
            rate, errors = done.outcome.answers_per_second, done.outcome.errors
            told = (
                f"{rate:,.0f} answers/s, {errors} errors, {done.missing} missing, load average {done.load_average:.2f}"
            )
            print(f"{case.name} {number + 1}/{length.rounds} {contestant.name}: {told}", file=sys.stderr, flush=True)
    return rounds


def _figures(
    stage: Stage, present: Sequence[Contestant], length: Length, rounds: dict[Case, dict[str, list[Round]]]
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
        "processes": stage.processes,
        "rounds": length.rounds,
        "seconds": length.seconds,
        "titles": {each.name: each.title for each in present},
        "left_out": stage.left_out,
        "note": NOTE,
        "broken": [f"{name}: {count} accepted and not in the queue" for name, count in missing.items() if count],
    }


def _missing(name: str, cases: Iterable[dict[str, list[Round]]]) -> int:
    return sum(each.missing for case in cases for each in case.get(name, []))


def _sums(rounds: dict[str, list[Round]]) -> dict[str, Figures]:
    return {name: summed_up(each) for name, each in rounds.items()}


DOOR = Benchmark(name="door", measures="answers of the door, beside other doors and an empty one", do=door)
