"""The garbage collector is paused while the recorder works, and collects its cycles once a minute."""

from __future__ import annotations

import gc
import weakref

import pytest

from workers.recording.recorder import GC_EVERY_SECONDS, paused_garbage_collector


def test_the_collector_is_off_inside_and_on_afterwards() -> None:
    with paused_garbage_collector():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_failure_does_not_leave_the_collector_off() -> None:
    with pytest.raises(ValueError, match="refused"), paused_garbage_collector():
        raise ValueError("refused")
    assert gc.isenabled()


def test_a_disabled_collector_stays_disabled() -> None:
    with paused_garbage_collector():
        with paused_garbage_collector():
            pass
        assert not gc.isenabled()


def test_new_cycles_are_collected_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr("workers.recording.recorder.time.perf_counter", lambda: now[0])
    with paused_garbage_collector() as collect:
        collect()  # not due yet, so it does nothing
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
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self
