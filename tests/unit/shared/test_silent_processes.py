"""A silent process is missing unless a live one of its kind, started since on another machine, stands in for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.db.reading.status import RunningProcess, not_replaced

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def process(name: str, *, started: int = 0, seen: int = 0) -> RunningProcess:
    """Make a process that started and was last seen so many seconds after noon."""
    at = [NOON + timedelta(seconds=seconds) for seconds in (started, seen)]
    return RunningProcess(
        name=name, kind=name.partition("@")[0], slots=16, connections=8, started_at=at[0], seen_at=at[1]
    )


@pytest.mark.parametrize(
    ("silent", "alive", "missing"),
    [
        (["worker@a:1"], [], ["worker@a:1"]),
        (["worker@a:1"], [("worker@b:1", 10)], []),
        (["worker@a:1"], [("worker@b:1", -10)], ["worker@a:1"]),  # it ran before
        (["worker@a:1"], [("sweeper@b:1", 10)], ["worker@a:1"]),
        # One that starts on the same machine deletes the rows of processes that are gone: this one is frozen
        (["worker@a:1"], [("worker@a:2", 10)], ["worker@a:1"]),
        (["worker@a:1", "worker@c:1"], [("worker@b:1", 10)], ["worker@c:1"]),
    ],
)
def test_who_is_missing(silent: list[str], alive: list[tuple[str, int]], missing: list[str]) -> None:
    gone = [process(name) for name in silent]
    live = [process(name, started=started, seen=60) for name, started in alive]
    assert [each.name for each in not_replaced(gone, live)] == missing


def test_each_stands_in_for_the_latest_that_it_can() -> None:
    gone = [process("worker@a:1", seen=0), process("worker@b:1", seen=20)]
    live = [process("worker@c:1", started=10, seen=60), process("worker@d:1", started=30, seen=60)]
    assert not_replaced(gone, live) == []
