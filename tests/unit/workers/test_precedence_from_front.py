"""The conversation in Front decides whether an action is confirmed, superseded or written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.actions import ActionFacts, Observation, ObservedEvent
from workers.changes.precedence import CLOCK_SKEW, Settle, decide_from_front, events_needed_since

EMITTED = datetime(2026, 8, 11, 9, 0, tzinfo=UTC)
INTENT = EMITTED + timedelta(minutes=2)
MOMENT = timedelta(milliseconds=1)
WRITE = None  # the change has not happened, and nobody overruled it


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
    type_: str,
    source: str | None,
    at: datetime = INTENT + timedelta(seconds=3),
    *,
    front_id: str = "evt_9",
    target_id: str | None = None,
) -> ObservedEvent:
    return ObservedEvent(front_id=front_id, type=type_, source=source, emitted_at=at, target_id=target_id)


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
        # Front shows the intended state, no matter who set it
        ("archive", front("archived"), confirmed("the conversation is archived")),
        ("trash", front("deleted"), confirmed("the conversation is deleted")),
        ("archive", front("archived", seen("archive", "teammate")), confirmed("the conversation is archived")),
        # Our change is among the events
        ("archive", front("unassigned", seen("archive", "api")), OURS),
        ("archive", front("unassigned", seen("archive", "oauth_client")), OURS),
        ("trash", front("assigned", seen("trash", "oauth_client")), OURS),
        # Our change counts even if a person or the customer changed the conversation afterwards
        ("archive", front("assigned", seen("archive", "oauth_client"), REOPENED), OURS),
        ("archive", front("assigned", REOPENED, seen("archive", "oauth_client")), OURS),
        ("archive", front("deleted", seen("archive", "oauth_client")), OURS),
        ("archive", front("unassigned", seen("archive", "api"), NEWER), OURS),
        # Front's clock may be a little behind the database's
        ("archive", front("unassigned", seen("archive", "api", INTENT - CLOCK_SKEW)), OURS),
        ("archive", front("unassigned", seen("archive", "api", INTENT - CLOCK_SKEW - MOMENT)), WRITE),
        # Another kind of change through the API is neither ours nor a person's
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
        # A person's change after the event counts, even from before the intent
        (
            "archive",
            front("unassigned", seen("reopen", "teammate", INTENT - MOMENT)),
            superseded("changed_by_somebody: reopen evt_9"),
        ),
        ("archive", front("unassigned", seen("reopen", "teammate", EMITTED)), WRITE),
        # A newer message, from any source
        ("archive", front("unassigned", seen("inbound", "inboxes")), superseded("newer_message: evt_9")),
        ("trash", front("unassigned", seen("inbound", "api")), superseded("newer_message: evt_9")),
        # The message itself
        ("archive", front("unassigned", seen("inbound", "inboxes", EMITTED)), WRITE),
        # These events do not change the status
        ("archive", front("assigned", seen("assign", "teammate"), seen("comment", "teammate")), WRITE),
        ("archive", front("assigned", seen("out_reply", "inboxes"), seen("tag", "rule")), WRITE),
        ("archive", front("unassigned"), WRITE),
        # An archived conversation is not in the trash yet
        ("trash", front("archived"), WRITE),
        # An unknown status of Front
        ("archive", front("spam"), WRITE),
        # Only the tag itself decides about a tag
        ("tag:tag_1", front("deleted", REOPENED, NEWER, tags=("tag_1", "tag_2")), confirmed("the tag is there")),
        ("tag:tag_1", front("deleted", REOPENED, NEWER, tags=("tag_2",)), WRITE),
        # Somebody removed the tag that we had set
        ("tag:tag_1", front("archived", seen("tag", "api", target_id="tag_1")), OURS),
        ("tag:tag_1", front("archived", seen("tag", "api", target_id="tag_2")), WRITE),
        ("tag:tag_1", front("archived", seen("tag", "teammate", target_id="tag_1")), WRITE),
        ("tag:tag_1", front("archived", seen("untag", "api", target_id="tag_1")), WRITE),
    ],
)
def test_front_shows_whether_a_sent_action_happened(
    kind: str, observation: Observation, decision: Settle | None
) -> None:
    assert decide_from_front(action(kind, intent_at=INTENT), observation) == decision


@pytest.mark.parametrize(
    ("kind", "observation", "decision"),
    [
        ("archive", front("unassigned"), WRITE),
        ("archive", front("archived"), confirmed("the conversation is archived")),
        # Nothing was sent yet, so an archive through the API was another app's
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
def test_front_shows_whether_an_unsent_action_is_still_due(
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
def test_a_conversation_in_the_intended_state_is_never_written(
    kind: str, events: list[ObservedEvent], sent: bool
) -> None:
    status = {"archive": "archived", "trash": "deleted"}[kind]
    decision = decide_from_front(action(kind, intent_at=INTENT if sent else None), front(status, *events))
    assert decision is not None
    assert decision.state == "confirmed"


@given(st.sampled_from(["archive", "trash"]), st.sampled_from(["assigned", "unassigned"]), EVENTS)
def test_a_persons_later_change_is_never_overwritten(kind: str, status: str, events: list[ObservedEvent]) -> None:
    later = seen("reopen", "teammate")
    assert decide_from_front(action(kind, intent_at=INTENT), front(status, *events, later)) is not WRITE


@pytest.mark.parametrize(
    ("kind", "intent_at", "observation", "since"),
    [
        ("archive", None, front("archived"), None),
        ("archive", None, front("open"), EMITTED),
        ("archive", INTENT, front("open"), INTENT),
        ("tag:tag_1", None, front("open"), None),
        ("tag:tag_1", INTENT, front("open", tags=("tag_1",)), None),
        ("tag:tag_1", INTENT, front("open", tags=("tag_2",)), INTENT),
    ],
)
def test_events_are_read_where_the_conversation_itself_does_not_tell(
    kind: str, intent_at: datetime | None, observation: Observation, since: datetime | None
) -> None:
    assert events_needed_since(action(kind, intent_at=intent_at), observation) == since
