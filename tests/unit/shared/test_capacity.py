"""The number of tasks that are sent depends on the slots, the running tasks and the queue."""

from __future__ import annotations

import pytest

from shared.db.tasks.capacity import WorkerLoad


@pytest.mark.parametrize(
    ("others", "files", "waiting", "for_round", "for_top_up", "for_files"),
    [
        (0, 0, 0, 32, 16, 8),
        (16, 0, 0, 16, 0, 8),
        # Files and other tasks together never exceed twice the slots
        (16, 8, 0, 8, 0, 0),
        (32, 0, 16, 0, -16, 8),
        # Messages wait in the queue
        (0, 0, 32, 0, 0, 0),
    ],
)
def test_other_tasks_get_the_capacity_that_files_do_not_use(
    others: int, files: int, waiting: int, for_round: int, for_top_up: int, for_files: int
) -> None:
    busy = WorkerLoad(slots=16, others=others, files=files, waiting=waiting)
    assert (busy.capacity_for_round, busy.capacity_for_top_up, busy.capacity_for_files) == (
        for_round,
        for_top_up,
        for_files,
    )


def test_nothing_is_sent_to_a_front_that_is_away() -> None:
    busy = WorkerLoad(slots=16, others=0, files=0, outages=("front",))
    assert (busy.capacity_for_round, busy.capacity_for_top_up, busy.capacity_for_files) == (0, 0, 0)
