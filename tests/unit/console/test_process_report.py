"""Each kind of process is told in words, with what to do; versions that run side by side are named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console.process_report import WORK, mixed_versions, report_kinds
from shared.db.reading.status import RunningProcess

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def process(kind: str, host: str = "a", *, version: str = "1.0", seconds_ago: float = 1.0) -> RunningProcess:
    return RunningProcess(
        name=f"{kind}@{host}:1",
        kind=kind,
        slots=0,
        connections=1,
        started_at=NOW,
        seen_at=NOW - timedelta(seconds=seconds_ago),
        version=version,
    )


ALL = [process(kind) for kind in WORK]


@pytest.mark.parametrize(
    ("alive", "silent", "ok", "found", "fix"),
    [
        # One of each: nothing is to be done
        (ALL, [], True, "1 is alive", ""),
        # Two workers
        ([*ALL, process("worker", "b")], [], True, "2 are alive", ""),
        # None at all
        ([], [], False, "none is alive: tasks wait, and none is lost", "start the Procfile's process `worker`"),
        # One alive and one silent
        (ALL, [process("worker", "b", seconds_ago=60)], False, "silent: worker@b:1 for 1 min", "`mailroom health "),
    ],
)  # fmt: skip
def test_a_kind_in_words(
    alive: list[RunningProcess], silent: list[RunningProcess], ok: bool, found: str, fix: str
) -> None:
    [worker] = [each for each in report_kinds(alive, silent, NOW) if each.kind == "worker"]
    assert (worker.ok, found in worker.found, fix in worker.fix) == (ok, True, True)
    assert bool(worker.fix) is not ok


def test_one_version_is_no_mix() -> None:
    assert mixed_versions(ALL) == {}


def test_processes_of_two_versions_are_named() -> None:
    assert mixed_versions([process("worker"), process("console", version="")]) == {
        "1.0": ["worker@a:1"],
        "of a folder": ["console@a:1"],
    }
