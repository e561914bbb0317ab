"""The figures of a backlog at Front's rate limit."""

from __future__ import annotations

from typing import Any

import pytest

from bench.limit import FULL, Case, Moments, Sent, live_figures, minutes_of, most_overtaken, repeated_calls, violations

NOTHING_FAILED = {"lost": 3, "double": 0, "ghost": 0, "wrong_token": 0}
WITHOUT_FILES = Case(tenants=1, files=0, workers=1, minute=60)


def a_call(at: float, conversation: str, method: str = "GET", part: str = "", status: int = 200) -> dict[str, Any]:
    return {
        "at": at,
        "company": "cmp_a",
        "method": method,
        "path": f"/conversations/{conversation}{part}",
        "route": f"/conversations/{{id}}{part}",
        "conversation": conversation,
        "status": status,
    }


def test_a_minute_is_compared_with_the_whole_limit() -> None:
    calls = [number / 2 for number in range(115)]
    moments = Moments(calls=calls, old=[1.0] * 16, live=[])
    first, second, *_ = minutes_of(moments, WITHOUT_FILES, 0.0)
    assert first == {"archives": 16, "possible": 40.0, "possible_ratio": 0.4, "calls": 115, "wasted": 67}
    assert second["archives"] == second["wasted"] == 0


def test_a_file_takes_a_call_of_its_own_and_a_live_mail_only_one() -> None:
    case = Case(tenants=2, files=1, workers=1, minute=60)
    [first, *_] = minutes_of(Moments(calls=[0.0] * 210, old=[0.0] * 50, live=[0.0] * 8), case, 0.0)
    assert (first["possible"], first["possible_ratio"], first["wasted"]) == (66.0, 0.879, 2)


def test_calls_that_were_refused_or_made_again_are_counted() -> None:
    calls = [
        a_call(1, "cnv_1"),
        a_call(2, "cnv_1", part="/events"),
        a_call(3, "cnv_1"),
        a_call(4, "cnv_1", part="/events", status=429),
        a_call(5, "cnv_1", part="/events"),
        a_call(6, "cnv_1", "PATCH", status=204),
        a_call(7, "cnv_2"),
    ]
    assert sorted(call["at"] for call in repeated_calls(calls)) == [1, 2, 4]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"cnv_a": 1.0, "cnv_b": 2.0, "cnv_c": 3.0}, 0),
        ({"cnv_c": 1.0, "cnv_a": 2.0, "cnv_b": 3.0}, 2),
        ({"cnv_b": 1.0}, 1),
        ({}, 0),
    ],
)
def test_mail_that_overtakes_older_mail_is_counted(changed: dict[str, float], expected: int) -> None:
    assert most_overtaken(["cnv_a", "cnv_b", "cnv_c"], changed) == expected


def test_live_mail_is_compared_with_the_backlog_that_went_first() -> None:
    sent = Sent(old={"cmp_a": ["cnv_a", "cnv_b", "cnv_c"]}, live={"cnv_x": 1.0, "cnv_y": 5.0})
    found = live_figures(sent, {"cnv_a": 0.5, "cnv_b": 2.0, "cnv_x": 3.5, "cnv_c": 6.0})
    assert found == {
        "live": 2,
        "live_archived": 1,
        "live_p50_seconds": 2.5,
        "live_slowest_seconds": 2.5,
        "backlog_before_live_most": 1,
    }


def test_a_backlog_that_waits_is_no_violation_and_one_that_ended_is() -> None:
    assert violations(NOTHING_FAILED, WITHOUT_FILES, {}, Sent()) == []
    done = {f"cnv_{number}": 1.0 for number in range(WITHOUT_FILES.mails_each)}
    [ended] = violations(NOTHING_FAILED, WITHOUT_FILES, done, Sent())
    assert "ended" in ended
    assert violations({**NOTHING_FAILED, "double": 1}, WITHOUT_FILES, {}, Sent()) == ["1 double"]


def test_the_cases_cover_one_and_fifty_tenants_with_one_to_four_workers() -> None:
    assert len({case.name for case in FULL}) == len(FULL)
    for tenants in (1, 50):
        cases = [case for case in FULL if case.tenants == tenants]
        assert {case.workers for case in cases} == {1, 2, 3, 4}
        assert {case.files for case in cases} == {0, 1}
    assert any(case.live for case in FULL)
