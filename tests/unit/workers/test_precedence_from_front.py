"""What an action came to, by what Front shows of its conversation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.actions import ActionFacts
from workers.changes.precedence import CLOCK_SKEW, Observation, ObservedEvent, Settle, decide_from_front

EMITTED = datetime(2026, 8, 11, 9, 0, tzinfo=UTC)
INTENT = EMITTED + timedelta(minutes=2)
MOMENT = timedelta(milliseconds=1)
WRITE = None  # it has not happened, and nobody objects


def action(kind: str = "archive", *, intent_at: datetime | None = None) -> ActionFacts:
    return ActionFacts(
        event_id=1,
        conversation_id="cnv_1",
        kind=kind,
        wait_for="stored",
        state="intent" if intent_at else "planned",
        emitted_at=EMITTED,
        intent_at=intent_at,
        age_seconds=120.0,
    )


def front(status: str, *events: ObservedEvent, tags: tuple[str, ...] = ()) -> Observation:
    return Observation(status=status, tag_ids=frozenset(tags), events=events)


def seen(
    type_: str, source: str | None, at: datetime = INTENT + timedelta(seconds=3), *, front_id: str = "evt_9"
) -> ObservedEvent:
    return ObservedEvent(front_id=front_id, type=type_, source=source, emitted_at=at)


def confirmed(reason: str) -> Settle:
    return Settle(state="confirmed", reason=f"seen: {reason}")


def superseded(reason: str) -> Settle:
    return Settle(state="superseded", reason=reason)


OURS = confirmed("evt_9 is our change")
REOPENED = seen("reopen", "teammate", INTENT + timedelta(seconds=9), front_id="evt_10")
NEWER = seen("inbound", "inboxes", INTENT + timedelta(seconds=9), front_id="evt_10")


@pytest.mark.parametrize(
    ("kind", "observation", "decision"),
    [
        # Front shows the state that was wanted, whoever made it
        ("archive", front("archived"), confirmed("the conversation is archived")),
        ("trash", front("deleted"), confirmed("the conversation is deleted")),
        ("archive", front("archived", seen("archive", "teammate")), confirmed("the conversation is archived")),
        # Our change is there
        ("archive", front("unassigned", seen("archive", "api")), OURS),
        ("archive", front("unassigned", seen("archive", "oauth_client")), OURS),
        ("trash", front("assigned", seen("trash", "oauth_client")), OURS),
        # … although a person reopened since, or trashed it, or the customer wrote again
        ("archive", front("assigned", seen("archive", "oauth_client"), REOPENED), OURS),
        ("archive", front("assigned", REOPENED, seen("archive", "oauth_client")), OURS),
        ("archive", front("deleted", seen("archive", "oauth_client")), OURS),
        ("archive", front("unassigned", seen("archive", "api"), NEWER), OURS),
        # Front's clock may be a little behind the database's
        ("archive", front("unassigned", seen("archive", "api", INTENT - CLOCK_SKEW)), OURS),
        ("archive", front("unassigned", seen("archive", "api", INTENT - CLOCK_SKEW - MOMENT)), WRITE),
        # Another kind of change through the API is not ours, and nobody's objection
        ("archive", front("unassigned", seen("reopen", "api")), WRITE),
        ("archive", front("unassigned", seen("trash", "api")), WRITE),
        # A person's change
        ("archive", front("unassigned", seen("reopen", "teammate")), superseded("changed_by_somebody: reopen evt_9")),
        ("trash", front("archived", seen("archive", "teammate")), superseded("changed_by_somebody: archive evt_9")),
        ("trash", front("assigned", seen("restore", "rule")), superseded("changed_by_somebody: restore evt_9")),
        ("archive", front("unassigned", seen("reopen", None)), superseded("changed_by_somebody: reopen evt_9")),
        (
            "archive",
            front("deleted", seen("trash", "teammate")),
            superseded("changed_by_somebody: the conversation is in the trash"),
        ),
        ("archive", front("deleted"), superseded("changed_by_somebody: the conversation is in the trash")),
        # … since the event: also one of before the intent that no webhook has told us of yet
        (
            "archive",
            front("unassigned", seen("reopen", "teammate", INTENT - MOMENT)),
            superseded("changed_by_somebody: reopen evt_9"),
        ),
        ("archive", front("unassigned", seen("reopen", "teammate", EMITTED)), WRITE),
        # A newer message, whoever brought it in
        ("archive", front("unassigned", seen("inbound", "inboxes")), superseded("newer_message: evt_9")),
        ("trash", front("unassigned", seen("inbound", "api")), superseded("newer_message: evt_9")),
        # The message itself
        ("archive", front("unassigned", seen("inbound", "inboxes", EMITTED)), WRITE),
        # What decides nothing about the conversation
        ("archive", front("assigned", seen("assign", "teammate"), seen("comment", "teammate")), WRITE),
        ("archive", front("assigned", seen("out_reply", "inboxes"), seen("tag", "rule")), WRITE),
        ("archive", front("unassigned"), WRITE),
        # Trash goes further than archive: an archived conversation is not there yet
        ("trash", front("archived"), WRITE),
        # A status of Front's that we do not know
        ("archive", front("spam"), WRITE),
        # A tag is there or not, whatever else happened
        ("tag:tag_1", front("deleted", REOPENED, NEWER, tags=("tag_1", "tag_2")), confirmed("the tag is there")),
        ("tag:tag_1", front("deleted", REOPENED, NEWER, tags=("tag_2",)), WRITE),
    ],
)
def test_what_an_unclear_answer_came_to(kind: str, observation: Observation, decision: Settle | None) -> None:
    assert decide_from_front(action(kind, intent_at=INTENT), observation) == decision


@pytest.mark.parametrize(
    ("kind", "observation", "decision"),
    [
        ("archive", front("unassigned"), WRITE),
        ("archive", front("archived"), confirmed("the conversation is archived")),
        # Nothing was sent yet: an archive through the API that was undone is another app's story
        ("archive", front("assigned", seen("archive", "api")), WRITE),
        (
            "archive",
            front("assigned", seen("archive", "api"), REOPENED),
            superseded("changed_by_somebody: reopen evt_10"),
        ),
        ("archive", front("unassigned", NEWER), superseded("newer_message: evt_10")),
        ("trash", front("unassigned", seen("archive", "rule")), superseded("changed_by_somebody: archive evt_9")),
        ("tag:tag_1", front("archived", NEWER), WRITE),
        ("tag:tag_1", front("archived", tags=("tag_1",)), confirmed("the tag is there")),
    ],
)
def test_what_an_old_action_comes_to_that_was_never_sent(
    kind: str, observation: Observation, decision: Settle | None
) -> None:
    assert decide_from_front(action(kind), observation) == decision


def test_the_archive_of_an_earlier_message_is_not_ours() -> None:
    at_once = action(intent_at=EMITTED + timedelta(seconds=1))
    earlier = seen("archive", "oauth_client", EMITTED - MOMENT)
    assert decide_from_front(at_once, front("unassigned", earlier)) is WRITE


EVENTS = st.lists(
    st.builds(
        ObservedEvent,
        front_id=st.sampled_from(["evt_7", "evt_8"]),
        type=st.sampled_from(["archive", "trash", "reopen", "restore", "inbound", "comment"]),
        source=st.sampled_from(["api", "oauth_client", "teammate", "rule", "inboxes", None]),
        emitted_at=st.integers(-60, 300).map(lambda seconds: EMITTED + timedelta(seconds=seconds)),
    ),
    max_size=4,
)


@given(st.sampled_from(["archive", "trash"]), EVENTS, st.booleans())
def test_a_conversation_that_is_where_it_should_be_is_never_written_to(
    kind: str, events: list[ObservedEvent], sent: bool
) -> None:
    status = {"archive": "archived", "trash": "deleted"}[kind]
    decision = decide_from_front(action(kind, intent_at=INTENT if sent else None), front(status, *events))
    assert decision is not None
    assert decision.state == "confirmed"


@given(st.sampled_from(["archive", "trash"]), st.sampled_from(["assigned", "unassigned"]), EVENTS)
def test_nothing_is_written_over_a_persons_later_change(kind: str, status: str, events: list[ObservedEvent]) -> None:
    later = seen("reopen", "teammate")
    assert decide_from_front(action(kind, intent_at=INTENT), front(status, *events, later)) is not WRITE
