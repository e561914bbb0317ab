"""Cycles are collected again once all is recorded, whatever became of it; and once a minute until then."""

from __future__ import annotations

import gc
import weakref

import pytest

from workers.recording.recorder import GC_EVERY_SECONDS, paused_garbage_collector


def test_nothing_is_collected_inside_and_everything_afterwards() -> None:
    with paused_garbage_collector():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_failure_does_not_leave_the_collector_off() -> None:
    with pytest.raises(ValueError, match="refused"), paused_garbage_collector():
        raise ValueError("refused")
    assert gc.isenabled()


def test_who_found_it_off_leaves_it_off() -> None:
    with paused_garbage_collector():
        with paused_garbage_collector():
            pass
        assert not gc.isenabled()


def test_cycles_that_were_made_inside_go_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr("workers.recording.recorder.time.perf_counter", lambda: now[0])
    with paused_garbage_collector() as collect:
        collect()  # not due: whatever was left by others is not looked for
        cycle = Cycle()
        gone = weakref.ref(cycle)
        del cycle
        now[0] += GC_EVERY_SECONDS - 1
        collect()
        assert gone()
        now[0] += 1
        collect()
        assert not gone()
        assert not gc.isenabled()


class Cycle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self
