"""What many rounds say together. Pure.

Ratios are taken within each round, between neighbours in time: what else the machine does then meets both.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.door.round import Round

OURS = "ours"


def summed_up(rounds: Sequence[Round]) -> dict[str, Any]:
    """One contestant in one case: medians of the rounds, and all errors and missing ones."""
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
    """Ours to each other one: `ours_to_NAME_ratio` of rates; `NAME_to_ours_cpu_ratio` of what an answer costs."""
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
