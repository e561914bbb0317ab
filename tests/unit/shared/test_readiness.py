"""Readiness: a loop that stands still, the heartbeat, and what several checks come to."""

from __future__ import annotations

from typing import Any, cast

import pytest

from shared.process import readiness
from shared.process.readiness import LastTurn, all_of, check_database


@pytest.mark.parametrize(("seconds", "is_right"), [(0, True), (29, True), (31, False), (3600, False)])
def test_a_loop_that_stands_still_is_told(seconds: float, is_right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(readiness.time, "monotonic", lambda: now)
    last_turn = LastTurn()
    last_turn.note()
    now += seconds
    assert last_turn.check()[0] is is_right


def test_without_a_heartbeat_nobody_asks_postgresql() -> None:
    class Silent:
        def is_recorded(self) -> bool:
            return False

    nobody = cast("Any", object())  # it has no `run`
    is_right, said = check_database(nobody, cast("Any", Silent()))
    assert not is_right
    assert "heartbeat" in said


def test_a_process_is_ready_when_all_is_right() -> None:
    assert all_of(queue=(True, "consumes"), database=(True, "current")) == (
        True,
        {"queue": "consumes", "database": "current"},
    )
    assert all_of(queue=(False, "starts"), database=(True, "current"))[0] is False
