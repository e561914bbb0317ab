"""What is said of ours and the peers when both were put through the same."""

from __future__ import annotations

from typing import Any

import pytest

from bench.flow.beside import failings
from bench.flow.moments import middle_rate, spread
from bench.flow.sending import has_changed, share_of
from bench.shown import shown

CLEAN = {"lost": 0, "double": 0, "ghost": 0, "wrong_token": 0, "settled": True}


def test_the_rate_is_that_of_the_middle() -> None:
    slow_at_both_ends = [0.0, 10.0, *(10.0 + number / 100 for number in range(1, 19)), 50.0]
    assert middle_rate(slow_at_both_ends) == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize("moments", [[], [1.0], [1.0, 1.0, 1.0]])
def test_a_few_moments_are_no_rate(moments: list[float]) -> None:
    assert middle_rate(moments) == 0.0


def test_percentiles_are_told_in_milliseconds_whatever_the_order() -> None:
    found = spread("action", [0.3, 0.1, 0.2])
    assert found == {"action_p50_ms": 200.0, "action_p95_ms": 300.0, "action_p99_ms": 300.0}


def test_every_company_is_sent_something() -> None:
    assert (share_of(["a", "b"], 10, 4.0), share_of(["a", "b"], 1, 0.1)) == (20, 1)


@pytest.mark.parametrize(
    ("method", "status", "fault", "expected"),
    [
        ("PATCH", 204, None, True),
        ("PATCH", 0, "reset_after", True),  # it was done, only nobody was told
        ("PATCH", 503, "503", False),
        ("GET", 200, None, False),
    ],
)
def test_a_change_is_what_front_did(method: str, status: int, fault: str | None, expected: bool) -> None:
    assert has_changed({"method": method, "status": status, "fault": fault}) is expected


def test_nothing_is_broken_where_all_was_done_once() -> None:
    assert failings("troubled", CLEAN) == []


@pytest.mark.parametrize("change", [{"lost": 1}, {"double": 2}, {"settled": False}])
def test_what_ours_must_never_do_is_broken(change: dict[str, Any]) -> None:
    assert len(failings("troubled", CLEAN | change)) == 1


def test_people_see_the_trials_beside_the_figures() -> None:
    rows = {"ours": {"action_p50_ms": 112.8, "lost": 0}, "textbook": {"action_p50_ms": 89.1, "lost": 1}}
    on = {"cores": 2, "cpu": "a processor", "load_average": [0.5]}
    trials = {"steady": {"contestants": rows}}
    text = shown({"name": "flow", "drain_seconds": 9.0, "beside": trials, "broken": [], "machine": on})
    assert "drain_seconds: 9.0" in text
    assert [line.split() for line in text.splitlines()[-2:]] == [["ours", "112.8", "0"], ["textbook", "89.1", "1"]]
