"""The sweeper's duties do not stand in each other's way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.pipeline.test_recording import receive
from workers.duties import Duty
from workers.recording import recorder
from workers.sweeper import _do_due

if TYPE_CHECKING:
    from tests.integration.pipeline.rig import Rig
    from workers.resources import Resources


def test_a_bug_in_one_duty_stops_neither_the_others_nor_the_sweeper(rig: Rig) -> None:
    done: list[str] = []

    def broken(_: Resources) -> None:
        raise ZeroDivisionError

    def works(_: Resources) -> None:
        done.append("works")

    duties = [Duty(name="broken", every=0.0, do=broken), Duty(name="works", every=0.0, do=works)]
    _do_due(rig.resources, duties)
    _do_due(rig.resources, duties)
    assert done == ["works", "works"]


def test_a_backlog_is_recorded_in_turns_with_the_other_duties(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.tenant("cmp_acme")
    for number in range(100):
        receive(rig, payload={"id": f"evt_{number}"})
    monkeypatch.setattr(recorder, "CHUNK", 1)
    recorded = rig.resources.recorder.drain(most_seconds=0.01)
    assert 0 < recorded < 100
    assert rig.resources.inbox.depth() == 100 - recorded
