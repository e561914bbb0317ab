"""How many tasks go to the workers beside those that they have."""

from __future__ import annotations

import pytest

from shared.db.tasks.capacity import WorkerLoad


@pytest.mark.parametrize(
    ("others", "files", "waiting", "in_rounds", "besides", "for_files"),
    [
        (0, 0, 0, 32, 16, 8),
        (16, 0, 0, 16, 0, 8),
        # Files and others together are twice what the workers run, whichever came first
        (16, 8, 0, 8, 0, 0),
        (32, 0, 16, 0, -16, 8),
        # Messages that nobody takes
        (0, 0, 32, 0, 0, 0),
    ],
)
def test_others_have_the_room_that_files_do_not_use(
    others: int, files: int, waiting: int, in_rounds: int, besides: int, for_files: int
) -> None:
    busy = WorkerLoad(slots=16, others=others, files=files, waiting=waiting)
    assert (busy.capacity_for_round, busy.capacity_for_top_up, busy.capacity_for_files) == (
        in_rounds,
        besides,
        for_files,
    )


def test_nothing_is_sent_to_a_front_that_is_away() -> None:
    busy = WorkerLoad(slots=16, others=0, files=0, outages=("front",))
    assert (busy.capacity_for_round, busy.capacity_for_top_up, busy.capacity_for_files) == (0, 0, 0)
