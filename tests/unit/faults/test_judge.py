"""The judge of a fault run counts every violation, and counts no late event as lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from bench.faults.scene import Findings, Scene

if TYPE_CHECKING:
    from collections.abc import Set

GOOD_TOTALS: dict[str, Any] = {"sent": 3, "acknowledged": 3, "door_under_2s": 1.0, "leaked_token": 0}
NO_VIOLATION = {"lost": 0, "double": 0, "ghost": 0, "wrong_token": 0}


@dataclass
class FakeRun:
    """Stand-in for Mailroom, the small Front and the platform after a run."""

    undone: set[str] = field(default_factory=set)
    rowless: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    found: dict[str, int] = field(default_factory=dict)
    counted: dict[str, Any] = field(default_factory=dict)
    ended_badly: list[str] = field(default_factory=list)

    @property
    def front(self) -> FakeRun:
        return self

    @property
    def platform(self) -> FakeRun:
        return self

    def lost(self) -> set[str]:
        return self.undone

    def acknowledged(self) -> set[str]:
        return {"evt_1", "evt_2", "evt_3"}

    def verdict(self) -> dict[str, int]:
        return NO_VIOLATION | self.found

    def totals(self) -> dict[str, Any]:
        return GOOD_TOTALS | self.counted

    def calls(self) -> list[dict[str, Any]]:
        return []

    def unsettled(self) -> str:
        return f"{len(self.open)} open tasks" if self.open else ""

    def unrecorded(self, acknowledged: Set[str]) -> set[str]:
        return self.rowless & acknowledged

    def unfinished(self, events: Set[str]) -> set[str]:
        return self.open & events

    def stop(self) -> list[str]:
        return self.ended_badly


def scene(fake_run: FakeRun, *, injected: int = 1) -> Scene:
    judged = Scene("run", None, fake_run)  # type: ignore[arg-type]
    judged.injected = injected
    return judged


@pytest.mark.parametrize(
    ("fake_run", "broken"),
    [
        (FakeRun(), ()),
        (FakeRun(undone={"evt_1"}), ("1 lost",)),
        (FakeRun(rowless={"evt_1"}), ("1 lost",)),
        # An event that both checks find is counted once
        (FakeRun(undone={"evt_1"}, rowless={"evt_1", "evt_2"}), ("2 lost",)),
        (FakeRun(undone={"evt_1", "evt_2"}, open={"evt_2"}), ("not settled within 0 s: 1 open tasks", "1 lost")),
        (FakeRun(found={"double": 1}), ("1 double",)),
        (FakeRun(found={"ghost": 2}), ("2 ghost",)),
        (FakeRun(found={"wrong_token": 1}), ("1 wrong token",)),
        (FakeRun(counted={"leaked_token": 1}), ("1 wrong token",)),
        (FakeRun(counted={"door_under_2s": 0.98}), ("only 98.00% of the door's answers came within 2 s",)),
        (FakeRun(counted={"acknowledged": 0}), ("nothing was acknowledged: this run proves nothing",)),
        (FakeRun(ended_badly=["worker ended after TERM with status 1"]), ("worker ended after TERM with status 1",)),
    ],
)
def test_each_violation_breaks_a_promise(fake_run: FakeRun, broken: tuple[str, ...]) -> None:
    assert scene(fake_run).judge(within=0).broken == broken


def test_a_run_without_a_fault_proves_nothing() -> None:
    assert scene(FakeRun(), injected=0).judge(within=0).broken == ("no fault took place: this run proves nothing",)


def test_a_run_that_kills_the_door_may_have_slow_answers() -> None:
    assert scene(FakeRun(counted={"door_under_2s": 0.5})).judge(within=0, door_dies=True).passed


def test_an_excused_loss_does_not_hide_another() -> None:
    judged = scene(FakeRun(undone={"evt_1"}, rowless={"evt_2"})).judge(within=0, at_risk={"evt_2", "evt_3"})
    assert (judged.lost, judged.broken, judged.note) == (2, ("1 lost",), "at risk 2, of them lost 1")


def test_events_of_other_senders_count_too() -> None:
    crowded = scene(FakeRun(rowless={"evt_crowd"}))
    crowded.acknowledged = {"evt_crowd"}
    assert crowded.judge(within=0).lost == 1


def test_what_a_run_finds_besides_is_judged_as_well() -> None:
    besides = Findings(lost={"evt_1"}, broken=("the feed has a gap",), note="2 in the feed")
    judged = scene(FakeRun()).judge(within=0, note="one fault", look=lambda: besides)
    assert (judged.lost, judged.note) == (1, "one fault; 2 in the feed")
    assert judged.broken == ("1 lost", "the feed has a gap")
