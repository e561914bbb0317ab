"""Percentiles and rates."""

from __future__ import annotations

import pytest

from bench.harness.timing import middle_rate, percentile, percentiles_ms


def test_the_rate_is_that_of_the_middle() -> None:
    slow_at_both_ends = [0.0, 10.0, *(10.0 + number / 100 for number in range(1, 19)), 50.0]
    assert middle_rate(slow_at_both_ends) == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize("moments", [[], [1.0], [1.0, 1.0, 1.0]])
def test_a_few_moments_have_no_rate(moments: list[float]) -> None:
    assert middle_rate(moments) == 0.0


def test_percentiles_are_in_milliseconds_in_any_order() -> None:
    found = percentiles_ms("action", [0.3, 0.1, 0.2])
    assert found == {"action_p50_ms": 200.0, "action_p95_ms": 300.0, "action_p99_ms": 300.0}


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
