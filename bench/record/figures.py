"""What the rounds of recording say together. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.record.round import Round

OURS = "ours"
TASK_EACH = "task_each"
#: Ours with the profiler looking on: for the shares, its rate is no figure.
PROFILED = "ours_profiled"


def summed_up(rounds: Sequence[Round]) -> dict[str, Any]:
    """One way in one case: medians."""
    own, postgres = median(map(_own, rounds)), median(map(_postgres, rounds))
    return {
        "events_per_second": round(median(map(_rate, rounds)), 1),
        "own_cpu_us_per_event": round(own, 1),
        "postgres_cpu_us_per_event": round(postgres, 1),
        "cpu_us_per_event": round(median(map(cost, rounds)), 1),
        "unrecorded": sum(each.unrecorded for each in rounds),
        "rounds_events_per_second": [round(_rate(each), 1) for each in rounds],
        "rounds_load_average": [round(each.load_average, 2) for each in rounds],
    }


def ratios(rounds: Mapping[str, Sequence[Round]]) -> dict[str, float]:
    """Ours beside the tasks, each with its neighbour in time: of rates, and of what an event costs."""
    pairs = list(zip(rounds.get(OURS, ()), rounds.get(TASK_EACH, ()), strict=True))
    return {
        f"ours_to_{TASK_EACH}_ratio": round(median(_rate(ours) / _rate(tasks) for ours, tasks in pairs), 2),
        f"{TASK_EACH}_to_ours_cpu_ratio": round(median(cost(tasks) / cost(ours) for ours, tasks in pairs), 2),
    }


def dearer(
    headline: Mapping[str, Sequence[Round]], others: Mapping[str, Mapping[str, Sequence[Round]]]
) -> dict[str, float]:
    """How much more CPU an event costs in each other case than in the headline's."""
    usual = median(map(cost, headline[OURS]))
    return {f"{name}_cpu_ratio": round(median(map(cost, ways[OURS])) / usual, 2) for name, ways in others.items()}


def told(done: Round) -> str:
    """A round in a line."""
    cpu = f"CPU us an event: own {_own(done):.0f}, PostgreSQL {_postgres(done):.0f}"
    return f"{_rate(done):,.0f} events/s, {cpu}, {done.unrecorded} unrecorded, load average {done.load_average:.2f}"


def _rate(done: Round) -> float:
    return done.webhooks / done.seconds


def _own(done: Round) -> float:
    return done.cpu_seconds / done.webhooks * 1e6


def _postgres(done: Round) -> float:
    return done.postgres_cpu_seconds / done.webhooks * 1e6


def cost(done: Round) -> float:
    """CPU of an event, the recorder's and PostgreSQL's, in microseconds."""
    return _own(done) + _postgres(done)
