"""What rounds say together."""

from __future__ import annotations

import pytest

from bench.door.figures import ratios, summed_up
from bench.door.order import Outcome
from bench.door.percentile import percentile
from bench.door.round import Round


def a_round(per_second: float, *, cpu: float = 1.0, missing: int = 0, errors: int = 0) -> Round:
    outcome = Outcome(
        accepted=100,
        errors=errors,
        answers_per_second=per_second,
        p50_ms=1.0,
        p95_ms=2.0,
        p99_ms=3.0,
        sender_cpu_share=0.1,
    )
    return Round(
        outcome=outcome,
        missing=missing,
        cpu_seconds_per_1000=cpu,
        redis_cpu_seconds_per_1000=0.1,
        memory_mb=50.0,
        load_average=1.0,
    )


def test_a_ratio_is_taken_between_rounds_of_the_same_moment() -> None:
    quiet, busy, busier = 1.0, 0.1, 0.01  # what else the machine does
    ours = [a_round(400 * share) for share in (quiet, busy, busier)]
    other = [a_round(100 * share) for share in (quiet, busy, busier)]
    assert ratios({"ours": ours, "other": other})["ours_to_other_ratio"] == 4.0


def test_the_ratio_of_cost_says_how_much_more_the_other_uses() -> None:
    found = ratios({"ours": [a_round(1, cpu=0.5)], "other": [a_round(1, cpu=2.0)]})
    assert found["other_to_ours_cpu_ratio"] == 4.0


def test_a_contestant_that_never_answered_is_no_reason_to_fail() -> None:
    assert ratios({"ours": [a_round(100)], "other": [a_round(0)]})["ours_to_other_ratio"] == 0.0


def test_rates_are_medians_and_failings_are_sums() -> None:
    rounds = [a_round(10, missing=1, errors=2), a_round(30), a_round(20, missing=2, errors=1)]
    summary = summed_up(rounds)
    assert (summary["answers_per_second"], summary["missing"], summary["errors"]) == (20, 3, 3)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], 0.5, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 0.99, 4.0),
        ([7.0], 0.5, 7.0),
        ([], 0.5, 0.0),
    ],
)
def test_a_percentile_is_one_of_the_values(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected
