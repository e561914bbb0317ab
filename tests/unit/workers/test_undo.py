"""Our rows and the conversation in Front decide whether an action is undone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.actions import Observation, ObservedEvent, UndoFacts
from workers.changes.precedence import CLOCK_SKEW, Proceed, Settle, Wait
from workers.changes.undo import UNSETTLED_SECONDS, decide_undo_from_front, decide_undo_from_rows

EMITTED = datetime(2026, 8, 11, 9, 0, tzinfo=UTC)
SENT = EMITTED + timedelta(seconds=3)
LATER = SENT + timedelta(hours=1)
INTENT = SENT + timedelta(hours=2)
MOMENT = timedelta(milliseconds=1)
UNDO = None  # the conversation is unchanged since our action


def facts(kind: str = "archive", **changes: Any) -> UndoFacts:
    """Return the facts of a sent action that a person wants undone; the keywords replace some."""
    plain: dict[str, Any] = {
        "event_id": 1,
        "conversation_id": "cnv_1",
        "kind": kind,
        "emitted_at": EMITTED,
        "sent_at": SENT,
        "intent_at": None,
    }
    return UndoFacts(**(plain | changes))


def skipped(reason: str) -> Settle:
    return Settle(state="skipped", reason=reason)


def somebody(what: str) -> Settle:
    return skipped(f"changed_by_somebody: {what}")


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        # The conversation is read before every undo
        ({}, Proceed(read_first=True)),
        ({"conversation_read": True}, Proceed(read_first=False)),
        ({"intent_at": INTENT}, Proceed(read_first=True)),
        # The newest of two undos of a conversation stands for both
        (
            {"newer_undo": "evt_2"},
            Settle(state="superseded", reason="coalesced: the undo of evt_2 does the same"),
        ),
        # The action is not settled, so there may be nothing to undo
        (
            {"unsettled": "evt_1", "sent_at": None},
            Wait(reason="the action of evt_1 is not settled yet", seconds=UNSETTLED_SECONDS),
        ),
        ({"sent_at": None}, skipped("not_ours: nothing was sent to Front")),
        # The present policy archived a newer mail
        ({"sent_again": "evt_3"}, skipped("applied_again: evt_3 did it again")),
        ({"sent_again": "evt_3", "conversation_read": True}, skipped("applied_again: evt_3 did it again")),
        ({"change": "evt_4"}, somebody("evt_4")),
        # A possibly sent undo always reads the conversation first
        ({"intent_at": INTENT, "change": "evt_4"}, Proceed(read_first=True)),
    ],
)
def test_our_rows_decide_first(changes: dict[str, Any], decision: Settle | Wait | Proceed) -> None:
    assert decide_undo_from_rows(facts(**changes)) == decision


def seen(type_: str, source: str, at: datetime = SENT, *, target: str | None = None) -> ObservedEvent:
    return ObservedEvent(front_id="evt_9", type=type_, source=source, emitted_at=at, target_id=target)


def front(status: str, *events: ObservedEvent, tags: tuple[str, ...] = ()) -> Observation:
    return Observation(status=status, tag_ids=frozenset(tags), events=events)


OURS, OURS_BY_OAUTH = seen("archive", "api"), seen("archive", "oauth_client")
REOPENED_BY_US = seen("reopen", "api", INTENT + MOMENT)


@pytest.mark.parametrize(
    ("undo", "observation", "decision"),
    [
        # The conversation is unchanged since our action
        (facts(), front("archived", OURS), UNDO),
        (facts(), front("archived", OURS_BY_OAUTH), UNDO),
        (facts("trash"), front("deleted", seen("trash", "api")), UNDO),
        # We archived it first and trashed it later
        (facts("trash"), front("deleted", seen("trash", "api", LATER), OURS), UNDO),
        # A person had changed it before our action
        (facts(), front("archived", OURS, seen("reopen", "teammate", SENT - MOMENT)), UNDO),
        # Mail and comments do not change the status
        (facts(), front("archived", seen("comment", "teammate", LATER), OURS), UNDO),
        # It is open already, or in the trash
        (
            facts(),
            front("unassigned", seen("reopen", "teammate", LATER), OURS),
            somebody("the conversation is unassigned"),
        ),
        (facts(), front("assigned"), somebody("the conversation is assigned")),
        (facts(), front("deleted", seen("trash", "teammate", LATER)), somebody("the conversation is deleted")),
        (facts("trash"), front("archived", seen("archive", "rule", LATER)), somebody("the conversation is archived")),
        # A person or a rule archived it again, perhaps in the same second
        (facts(), front("archived", seen("archive", "teammate", LATER), OURS), somebody("archive evt_9")),
        (facts(), front("archived", seen("archive", "rule", LATER), OURS), somebody("archive evt_9")),
        (facts(), front("archived", OURS, seen("archive", "teammate", SENT)), somebody("archive evt_9")),
        # It was archived already, so our action changed nothing
        (facts(), front("archived", seen("archive", "teammate", EMITTED + MOMENT)), somebody("archive evt_9")),
        (facts(), front("archived"), skipped("not_ours: Front shows no change of ours; it was so before")),
        (
            facts(),
            front("archived", seen("archive", "api", EMITTED - CLOCK_SKEW - MOMENT)),
            skipped("not_ours: Front shows no change of ours; it was so before"),
        ),
        # After a lost answer the undo is done, done and overruled, or not done
        (
            facts(intent_at=INTENT),
            front("unassigned", REOPENED_BY_US, OURS),
            Settle(state="confirmed", reason="seen: evt_9 is our change"),
        ),
        (
            facts(intent_at=INTENT),
            front("archived", seen("archive", "teammate", INTENT + timedelta(minutes=1)), REOPENED_BY_US, OURS),
            Settle(state="confirmed", reason="seen: evt_9 is our change"),
        ),
        (
            facts("trash", intent_at=INTENT),
            front("unassigned", seen("restore", "oauth_client", INTENT), seen("trash", "api")),
            Settle(state="confirmed", reason="seen: evt_9 is our change"),
        ),
        (facts(intent_at=INTENT), front("archived", OURS), UNDO),
        (
            facts(intent_at=INTENT),
            front("unassigned", seen("reopen", "teammate", LATER), OURS),
            somebody("the conversation is unassigned"),
        ),
    ],
)
def test_only_an_unchanged_conversation_is_reopened(
    undo: UndoFacts, observation: Observation, decision: Settle | None
) -> None:
    assert decide_undo_from_front(undo, observation) == decision


TAGGED = seen("tag", "api", target="tag_1")
UNTAGGED_BY_US = seen("untag", "api", INTENT, target="tag_1")


@pytest.mark.parametrize(
    ("intent_at", "observation", "decision"),
    [
        (None, front("unassigned", TAGGED, tags=("tag_1",)), UNDO),
        # Other tags and the status do not matter
        (
            None,
            front("archived", seen("tag", "teammate", LATER, target="tag_2"), TAGGED, tags=("tag_1", "tag_2")),
            UNDO,
        ),
        (None, front("archived", seen("archive", "teammate", LATER), TAGGED, tags=("tag_1",)), UNDO),
        (None, front("unassigned", TAGGED), somebody("the tag is not there any more")),
        # A person removed and added the tag again, or had added it before us
        (
            None,
            front("unassigned", seen("tag", "teammate", LATER, target="tag_1"), TAGGED, tags=("tag_1",)),
            somebody("tag evt_9"),
        ),
        (
            None,
            front("unassigned", tags=("tag_1",)),
            skipped("not_ours: Front shows no change of ours; it was so before"),
        ),
        # The answer to the undo was lost
        (
            INTENT,
            front("unassigned", UNTAGGED_BY_US, TAGGED),
            Settle(state="confirmed", reason="seen: evt_9 is our change"),
        ),
        (INTENT, front("unassigned", TAGGED, tags=("tag_1",)), UNDO),
    ],
)
def test_only_a_tag_that_we_added_is_removed(
    intent_at: datetime | None, observation: Observation, decision: Settle | None
) -> None:
    assert decide_undo_from_front(facts("tag:tag_1", intent_at=intent_at), observation) == decision
