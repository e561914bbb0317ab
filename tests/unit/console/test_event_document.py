"""The timeline of an event is derived from its rows alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from console.event_document import timeline
from shared.db.reading.attempts import AttemptView
from shared.db.reading.events import ActionView, RecipientView
from tests.unit.console.made_events import EVENT, HEADER, at

if TYPE_CHECKING:
    from datetime import datetime

    from shared.db.reading.events import EventDetails

NOBODY = RecipientView(handle="ap@a.example", role="to", reason="no user", user_id=None, user_name=None)
SKIPPED = ActionView(kind="archive", state="skipped", reason="too_old: …", intent_at=None, settled_at=None)
FETCH = AttemptView(
    task_id=7,
    kind="fetch_message",
    epoch=1,
    worker="worker@a:1",
    started_at=at(2),
    ended_at=at(3),
    outcome="done",
    code=None,
    detail=None,
    calls=[],
)


def moments(event: EventDetails) -> list[tuple[str, datetime]]:
    return [(moment["what"], moment["at"]) for moment in timeline(event)]


def test_a_plan_made_while_recording_has_the_time_of_recording() -> None:
    event = replace(EVENT, recipients=[NOBODY], action=SKIPPED)
    assert moments(event) == [("recorded", at(1)), ("matched nobody", at(1)), ("action skipped", at(1))]


def test_a_plan_made_after_fetching_comes_after_the_fetch() -> None:
    event = replace(EVENT, recipients=[NOBODY], action=SKIPPED, attempts=[FETCH])
    assert moments(event)[-2:] == [("matched nobody", at(3)), ("action skipped", at(3))]


def test_a_dry_run_is_planned_first_and_skipped_later() -> None:
    tried = replace(SKIPPED, dry_run=True, reason="dry_run: would have archived cnv_1", settled_at=at(9))
    planned, skipped = timeline(replace(EVENT, action=tried))[-2:]
    assert (planned["what"], planned["at"]) == ("action planned as a dry run", at(1))
    assert (skipped["what"], skipped["at"], skipped["reason"]) == ("action skipped", at(9), tried.reason)


def test_an_unfinished_attempt_is_marked() -> None:
    [_, moment] = timeline(replace(EVENT, attempts=[replace(FETCH, ended_at=None, outcome=None)]))
    assert moment["outcome"] == "running or lost"


def test_a_parked_event_shows_its_time_and_reason() -> None:
    paused = replace(HEADER, state="parked", cause="paused", parked_at=at(60))
    assert moments(replace(EVENT, header=paused))[-1] == ("parked", at(60))
    unknown = replace(HEADER, state="parked", cause="unknown_company", tenant=None)
    assert timeline(replace(EVENT, header=unknown))[-1] == {"at": at(1), "what": "parked", "cause": "unknown_company"}
