"""The judge of a fault run counts each failing, and no late event as lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from bench.faults.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Set

WELL: dict[str, Any] = {"sent": 3, "acknowledged": 3, "door_under_2s": 1.0, "leaked_token": 0}
INNOCENT = {"lost": 0, "double": 0, "ghost": 0, "wrong_token": 0}


@dataclass
class Played:
    """Stands for Mailroom, the small Front and the platform after a run."""

    undone: set[str] = field(default_factory=set)
    rowless: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    found: dict[str, int] = field(default_factory=dict)
    counted: dict[str, Any] = field(default_factory=dict)
    ended_badly: list[str] = field(default_factory=list)

    @property
    def front(self) -> Played:
        return self

    @property
    def platform(self) -> Played:
        return self

    def lost(self) -> set[str]:
        return self.undone

    def acknowledged(self) -> set[str]:
        return {"evt_1", "evt_2", "evt_3"}

    def verdict(self) -> dict[str, int]:
        return INNOCENT | self.found

    def totals(self) -> dict[str, Any]:
        return WELL | self.counted

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


def scene(played: Played, *, injected: int = 1) -> Scene:
    judged = Scene("run", None, played)  # type: ignore[arg-type]
    judged.injected = injected
    return judged


@pytest.mark.parametrize(
    ("played", "broken"),
    [
        (Played(), ()),
        (Played(undone={"evt_1"}), ("1 lost",)),
        (Played(rowless={"evt_1"}), ("1 lost",)),
        # the same event found by both is one
        (Played(undone={"evt_1"}, rowless={"evt_1", "evt_2"}), ("2 lost",)),
        (Played(undone={"evt_1", "evt_2"}, open={"evt_2"}), ("not settled within 0 s: 1 open tasks", "1 lost")),
        (Played(found={"double": 1}), ("1 double",)),
        (Played(found={"ghost": 2}), ("2 ghost",)),
        (Played(found={"wrong_token": 1}), ("1 wrong token",)),
        (Played(counted={"leaked_token": 1}), ("1 wrong token",)),
        (Played(counted={"door_under_2s": 0.98}), ("only 98.00% of the door's answers came within 2 s",)),
        (Played(counted={"acknowledged": 0}), ("nothing was acknowledged: this run proves nothing",)),
        (Played(ended_badly=["worker ended after TERM with status 1"]), ("worker ended after TERM with status 1",)),
    ],
)
def test_each_failing_breaks_a_promise(played: Played, broken: tuple[str, ...]) -> None:
    assert scene(played).judge(within=0).broken == broken


def test_a_run_without_a_fault_proves_nothing() -> None:
    assert scene(Played(), injected=0).judge(within=0).broken == ("no fault took place: this run proves nothing",)


def test_a_door_that_is_killed_itself_may_keep_connections_waiting() -> None:
    assert scene(Played(counted={"door_under_2s": 0.5})).judge(within=0, door_dies=True).passed


def test_an_excused_loss_does_not_hide_another() -> None:
    judged = scene(Played(undone={"evt_1"}, rowless={"evt_2"})).judge(within=0, at_risk={"evt_2", "evt_3"})
    assert (judged.lost, judged.broken, judged.note) == (2, ("1 lost",), "at risk 2, of them lost 1")


def test_what_others_had_acknowledged_counts_too() -> None:
    crowded = scene(Played(rowless={"evt_crowd"}))
    crowded.acknowledged = {"evt_crowd"}
    assert crowded.judge(within=0).lost == 1
