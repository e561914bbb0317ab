"""Cycles are collected again once a chunk is recorded, whatever became of it."""

from __future__ import annotations

import gc

import pytest

from workers.recording.collecting import without_collecting


def test_nothing_is_collected_inside_and_everything_afterwards() -> None:
    with without_collecting():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_failure_does_not_leave_the_collector_off() -> None:
    with pytest.raises(ValueError, match="refused"), without_collecting():
        raise ValueError("refused")
    assert gc.isenabled()


def test_who_found_it_off_leaves_it_off() -> None:
    with without_collecting():
        with without_collecting():
            pass
        assert not gc.isenabled()


def test_each_call_of_what_is_wrapped_is_for_itself() -> None:
    wrapped = without_collecting()(gc.isenabled)
    assert [wrapped(), wrapped(), gc.isenabled()] == [False, False, True]
