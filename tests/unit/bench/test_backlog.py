"""The figures of the benchmark with a large backlog."""

from __future__ import annotations

import pytest

from bench.backlog import Sample, highest_memory, tenths, violations
from bench.flow.fixture import first_changes

NOTHING_FAILED = {"lost": 0, "double": 0, "ghost": 0, "wrong_token": 0}


def a_sample(at: float, **memory: float) -> Sample:
    return Sample(at=at, took=0.002, memory=memory, load_average=1.0, is_open=True)


def test_each_tenth_of_the_changes_has_a_rate_and_an_end() -> None:
    slow, fast = [100.0 + number for number in range(10)], [110.0 + number / 10 for number in range(90)]
    found = tenths([*fast, *slow], began=98.0)
    assert found["changes_per_second"] == [1.0, *[10.0] * 9]
    assert (found["until_seconds"][0], found["until_seconds"][-1]) == (12.0, 20.9)


@pytest.mark.parametrize("moments", [[], [5.0], [5.0, 5.0]])
def test_too_few_changes_have_no_rate(moments: list[float]) -> None:
    assert sum(tenths(moments, began=5.0)["changes_per_second"]) == 0.0


def test_memory_is_measured_for_the_first_tenth_and_the_whole_run() -> None:
    samples = [
        a_sample(0.0, worker=30.0),
        a_sample(10.0, worker=70.04),
        a_sample(11.0, worker=90.0),
        a_sample(100.0, worker=80.0),
    ]
    assert highest_memory(samples) == {"worker_memory_first_tenth_mb": 70.0, "worker_memory_mb": 90.0}


def test_the_first_change_of_a_conversation_counts() -> None:
    read = {"at": 0.0, "method": "GET", "status": 200, "conversation": "cnv_1", "fault": None}
    change = {**read, "at": 1.0, "method": "PATCH", "status": 204}
    again = {**change, "at": 2.0}
    assert first_changes([read, change, again]) == {"cnv_1": pytest.approx(1.08)}


@pytest.mark.parametrize(
    ("verdict", "settled", "expected"),
    [
        ({}, True, []),
        ({"lost": 2, "ghost": 1}, True, ["2 lost", "1 ghost"]),
        ({"double": 1}, False, ["1 double", "some work was not done in time"]),
    ],
)
def test_every_violated_guarantee_is_named(verdict: dict[str, int], settled: bool, expected: list[str]) -> None:
    assert violations(NOTHING_FAILED | verdict, settled=settled) == expected
