"""The control counts lost and repeated tasks, and reads the growing file of effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.faults.control import Comparison, Effects, compare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.mark.parametrize(
    ("acknowledged", "done", "lost", "twice", "unacknowledged"),
    [
        # Every task was done once
        ({1, 2}, {1: 1, 2: 1}, set(), set(), set()),
        # An acknowledged task was never done
        ({1, 2, 3}, {2: 1}, {1, 3}, set(), set()),
        # A repeated task does not make up for a lost one
        ({1, 2}, {1: 2}, {2}, {1}, set()),
        # The sender saw an error
        ({1}, {1: 1, 2: 1}, set(), set(), {2}),
    ],
)
def test_acknowledged_and_done_tasks_are_compared(
    acknowledged: set[int], done: Mapping[int, int], lost: set[int], twice: set[int], unacknowledged: set[int]
) -> None:
    assert compare(acknowledged, done) == Comparison(
        lost=frozenset(lost), twice=frozenset(twice), unacknowledged=frozenset(unacknowledged)
    )


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    return Effects(tmp_path / "effects")


def append(effects: Effects, text: str) -> None:
    with effects.path.open("a") as file:
        file.write(text)
    effects.read()


def test_a_half_written_line_is_read_when_it_is_complete(effects: Effects) -> None:
    append(effects, "1 threads 70 2.5\n2 thr")
    append(effects, "eads 70 3.5\n")
    assert effects.done == {1: 1, 2: 1}


def test_a_line_is_read_once(effects: Effects) -> None:
    append(effects, "1 threads 70 2.5\n")
    effects.read()
    assert effects.done == {1: 1}


def test_the_last_effect_of_each_worker_is_known(effects: Effects) -> None:
    append(effects, "1 threads 70 2.5\n2 prefork 71 4.0\n3 threads 72 3.5\n")
    assert effects.last == {"threads": 3.5, "prefork": 4.0}
