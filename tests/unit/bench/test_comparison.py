"""The figures of the comparison with the peers."""

from __future__ import annotations

from typing import Any

import pytest

from bench.flow.comparison import ratios, violations
from bench.flow.fixture import has_changed, share_of

CLEAN = {"lost": 0, "double": 0, "ghost": 0, "wrong_token": 0, "settled": True}


def test_every_company_gets_a_share() -> None:
    assert (share_of(["a", "b"], 10, 4.0), share_of(["a", "b"], 1, 0.1)) == (20, 1)


@pytest.mark.parametrize(
    ("method", "status", "fault", "expected"),
    [
        ("PATCH", 204, None, True),
        ("PATCH", 0, "reset_after", True),  # Front made the change, and the answer was lost
        ("PATCH", 503, "503", False),
        ("GET", 200, None, False),
    ],
)
def test_a_change_counts_if_front_made_it(method: str, status: int, fault: str | None, expected: bool) -> None:
    assert has_changed({"method": method, "status": status, "fault": fault}) is expected


def test_each_ratio_is_to_the_best_peer() -> None:
    systems = {"ours": 6.0, "one": 3.0, "another": 12.0}
    figures = ("cpu_seconds_per_1000", "action_p50_ms", "action_p99_ms", "changes_per_second")
    trial = {name: dict.fromkeys(figures, value) for name, value in systems.items()}
    found = ratios({"backlog": trial, "steady_20_a_second": trial, "steady_50_a_second": trial})
    assert found.pop("backlog_ratio") == 0.5
    assert found == dict.fromkeys(("cpu_at_20_ratio", "cpu_at_50_ratio", "change_p50_ratio", "change_p99_ratio"), 2.0)


def test_there_is_no_ratio_without_a_peer() -> None:
    assert ratios({"backlog": {"ours": {"changes_per_second": 1.0}}}) == {}


def test_changes_made_once_violate_nothing() -> None:
    assert violations("troubled", CLEAN) == []


@pytest.mark.parametrize("change", [{"lost": 1}, {"double": 2}, {"settled": False}])
def test_loss_doubles_and_unfinished_work_are_violations(change: dict[str, Any]) -> None:
    assert len(violations("troubled", CLEAN | change)) == 1
