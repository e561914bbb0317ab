"""Cycles are collected again once all is recorded, whatever became of it; and once a minute until then."""

from __future__ import annotations

import gc
import weakref

import pytest

from workers.recording.recorder import EVERY_SECONDS, rarely_collecting


def test_nothing_is_collected_inside_and_everything_afterwards() -> None:
    with rarely_collecting():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_failure_does_not_leave_the_collector_off() -> None:
    with pytest.raises(ValueError, match="refused"), rarely_collecting():
        raise ValueError("refused")
    assert gc.isenabled()


def test_who_found_it_off_leaves_it_off() -> None:
    with rarely_collecting():
        with rarely_collecting():
            pass
        assert not gc.isenabled()


def test_cycles_that_were_made_inside_go_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr("workers.recording.recorder.time.perf_counter", lambda: now[0])
    with rarely_collecting() as collect:
        collect()  # not due: whatever was left by others is not looked for
        cycle = Cycle()
        gone = weakref.ref(cycle)
        del cycle
        now[0] += EVERY_SECONDS - 1
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
