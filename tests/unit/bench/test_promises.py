"""What a result says of the promises."""

from __future__ import annotations

from typing import Any

import pytest

from bench.catalogue import catalogue
from bench.measuring import together
from bench.promises import PROMISES, judged, told


@pytest.mark.parametrize(
    ("figures", "kept"),
    [
        ({"name": "door", "ours_to_textbook_ratio": 4.0}, True),
        ({"name": "door", "ours_to_textbook_ratio": 3.99}, False),
        ({"name": "flow", "worker_memory_mb": 120.0}, True),
        ({"name": "flow", "worker_memory_mb": 120.1}, False),
    ],
)
def test_a_promise_is_kept_up_to_its_bound(figures: dict[str, Any], kept: bool) -> None:
    [promise] = judged(figures)
    assert promise["kept"] is kept


def test_what_was_not_measured_is_not_judged() -> None:
    assert judged({"name": "door"}) == []


def test_a_figure_of_another_benchmark_says_nothing() -> None:
    assert judged({"name": "scale", "ours_to_textbook_ratio": 5.0}) == []


def test_every_promise_is_of_a_benchmark_there_is_and_has_one_bound() -> None:
    assert {each.of for each in PROMISES} <= catalogue().keys()
    assert all((each.at_least is None) != (each.at_most is None) for each in PROMISES)


def test_people_read_what_was_promised_and_what_it_is() -> None:
    [line] = told(judged({"name": "flow", "calls_per_second": 77.0}))
    assert line == (
        "promised: calls a second of a worker with 16 threads, its events fresh at first, at least 150: 77.0, NOT kept"
    )


def test_all_together_name_whose_fault_is_whose() -> None:
    door = {"name": "door", "promises": [{"what": "a"}], "broken": ["1 missing"]}
    scale = {"name": "scale", "promises": [{"what": "b"}], "broken": []}
    both = together([door, scale])
    assert both["promises"] == [{"what": "a"}, {"what": "b"}]
    assert both["broken"] == ["door: 1 missing"]
    assert both["scale"] is scale
