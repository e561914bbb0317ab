"""The figures of the benchmark from the webhook to the change in Front."""

from __future__ import annotations

import pytest

from bench.flow.backlogs import most_in_a_minute
from bench.flow.downloads import violations
from bench.flow.fixed_rate import is_steady, lateness
from bench.flow.footprint import COUNTED, footprint_table


@pytest.mark.parametrize(
    ("moments", "most"),
    [
        ([], 0),
        ([5.0], 1),
        ([0.0, 30.0, 59.9], 3),
        ([0.0, 60.0], 1),  # a minute ends before its last moment
        ([0.0, 1.0, 2.0, 61.5, 62.5], 3),
        ([0.0, 50.0, 55.0, 70.0, 100.0], 4),
    ],
)
def test_the_busiest_minute_may_begin_at_any_moment(moments: list[float], most: int) -> None:
    assert most_in_a_minute(moments) == most


def test_a_webhook_sent_after_its_scheduled_time_is_late() -> None:
    assert lateness([10.0, 10.1, 10.5], per_second=10) == pytest.approx([0.0, 0.0, 0.3])


@pytest.mark.parametrize(("seconds", "steady"), [(0.1, True), (1.0, True), (1.1, False)])
def test_a_rate_is_held_when_little_is_left_to_do_at_its_end(seconds: float, steady: bool) -> None:
    assert is_steady({"last_action_after_last_webhook_seconds": seconds}) is steady


def test_downloads_that_do_not_overlap_are_a_violation() -> None:
    slow, fast = ({"most_at_once": most, "memory_mb": 110.0, "wrong": 0} for most in (16, 9))
    assert violations({"slow": slow, "fast": fast}, files=16) == []
    assert violations({"slow": fast, "fast": slow}, files=16) == [
        "only 9 files were stored at once: this measures nothing"
    ]


@pytest.mark.parametrize("change", [{"memory_mb": 150.0}, {"wrong": 1}])
def test_other_bytes_and_too_much_memory_break_the_promise(change: dict[str, float]) -> None:
    slow = {"most_at_once": 16, "memory_mb": 110.0, "wrong": 0}
    assert len(violations({"slow": slow, "fast": slow | change}, files=16)) == 1


def test_the_footprint_has_a_line_for_each_figure() -> None:
    head, *lines = footprint_table({"20": dict.fromkeys(COUNTED, 1.0), "50": dict.fromkeys(COUNTED, 12.5)}).splitlines()
    assert head.split() == ["an", "event", "20/s", "50/s"]
    assert [line.split() for line in lines] == [[name, "1.00", "12.50"] for name in COUNTED]
