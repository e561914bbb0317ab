"""The question why nothing happened has an answer in a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from console.why_nothing import PARKED, SKIPPED, why_nothing
from shared.db.reading.events import ActionView, TaskView
from tests.unit.console.made_events import EVENT, HEADER, at

if TYPE_CHECKING:
    from shared.db.reading.events import EventDetails

DONE = TaskView(id=1, kind="apply_action", state="done", code=None, detail=None, attempts=1)


def event(action: ActionView | None = None, tasks: tuple[TaskView, ...] = (), **changed: Any) -> EventDetails:
    """Make an event with this action and these tasks."""
    return replace(EVENT, header=replace(HEADER, **changed), action=action, tasks=list(tasks))


def action(state: str, reason: str, *, dry_run: bool = False) -> ActionView:
    """Make an archive in this state."""
    return ActionView(
        kind="archive", state=state, reason=reason, intent_at=None, settled_at=at(9), dry_run=dry_run, undone_at=None
    )


def test_where_everything_was_done_there_is_nothing_to_say() -> None:
    assert why_nothing(event(action("confirmed", "applied"), (DONE,))) == []


@pytest.mark.parametrize("cause", PARKED)
def test_a_parked_event_says_what_it_waits_for(cause: str) -> None:
    assert why_nothing(event(state="parked", cause=cause)) == [PARKED[cause]]


@pytest.mark.parametrize("cause", SKIPPED)
def test_a_skipped_action_says_why(cause: str) -> None:
    (reason,) = why_nothing(event(action("skipped", f"{cause}: more"), (DONE,)))
    assert reason.startswith(SKIPPED[cause])


def test_an_unknown_type_is_named() -> None:
    (reason,) = why_nothing(event(state="ignored", cause="unknown_type", type="made_up"))
    assert "'made_up'" in reason


@pytest.mark.parametrize(("kind", "word"), [("tag_added", "recorded"), ("inbound_received", "no file")])
def test_an_event_without_work_says_that_there_is_none(kind: str, word: str) -> None:
    (reason,) = why_nothing(event(type=kind))
    assert word in reason


def test_a_dry_run_and_a_newer_change_are_named() -> None:
    assert "runs dry" in why_nothing(event(action("confirmed", "applied", dry_run=True), (DONE,)))[0]
    assert "newer_message" in why_nothing(event(action("superseded", "newer_message"), (DONE,)))[0]
    assert why_nothing(event(action("discarded", "discarded: a test"), (DONE,))) == [
        "The action was discarded: a test."
    ]


def test_failures_say_what_to_do_once_each() -> None:
    failed = replace(DONE, state="failed", code="storage_full")
    (reason,) = why_nothing(event(tasks=(failed, replace(failed, id=2))))
    assert "Make room" in reason
