"""Our own rows decide whether an action proceeds, waits or is settled."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.actions import ActionFacts, UnstoredFiles
from workers.changes.precedence import FRESH_SECONDS, Proceed, Settle, Wait, decide_from_rows

AT = datetime(2026, 8, 11, 9, 0, tzinfo=UTC)
AT_ONCE = Proceed(read_first=False)
READ_FIRST = Proceed(read_first=True)


def superseded(reason: str) -> Settle:
    return Settle(state="superseded", reason=reason)


def facts(**changes: Any) -> ActionFacts:
    """Return the facts of a fresh archive action that may proceed; the keywords replace some."""
    plain: dict[str, Any] = {
        "event_id": 1,
        "conversation_id": "cnv_1",
        "kind": "archive",
        "wait_for": "stored",
        "state": "planned",
        "emitted_at": AT,
        "intent_at": None,
        "age_seconds": 2.0,
    }
    unstored = changes.pop("unstored", UnstoredFiles())
    return ActionFacts(**(plain | asdict(unstored) | changes))


WAITING = UnstoredFiles(waiting=1)
FAILED = UnstoredFiles(failed=1)
DISCARDED = UnstoredFiles(discarded=1)
UNTIL_STORED = Wait(reason="waits for 1 file(s) of the conversation to be stored", seconds=None)
UNTIL_RETRIED = Wait(
    reason="1 file(s) of the conversation could not be stored; retry or discard their tasks", seconds=None
)
FILE_DISCARDED = Settle(state="skipped", reason="file_discarded: trash never destroys a file that was not stored")


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({}, AT_ONCE),
        ({"kind": "trash"}, AT_ONCE),
        ({"kind": "tag:tag_1"}, AT_ONCE),
        # After a minute the conversation is read first
        ({"age_seconds": FRESH_SECONDS}, AT_ONCE),
        ({"age_seconds": FRESH_SECONDS + 0.1}, READ_FIRST),
        ({"age_seconds": 86_400.0, "kind": "tag:tag_1"}, READ_FIRST),
        # A clock behind Front's makes the age negative
        ({"age_seconds": -3.0}, AT_ONCE),
        # Files
        ({"unstored": WAITING}, UNTIL_STORED),
        ({"unstored": WAITING, "kind": "tag:tag_1", "wait_for": "settled"}, UNTIL_STORED),
        ({"unstored": FAILED}, UNTIL_RETRIED),
        ({"unstored": FAILED, "wait_for": "settled"}, AT_ONCE),
        ({"unstored": FAILED, "wait_for": "settled", "kind": "trash"}, UNTIL_RETRIED),
        # A discarded file stays in Front after archiving, but not after trashing
        ({"unstored": DISCARDED}, AT_ONCE),
        ({"unstored": DISCARDED, "kind": "tag:tag_1"}, AT_ONCE),
        ({"unstored": DISCARDED, "kind": "trash"}, FILE_DISCARDED),
        ({"unstored": DISCARDED, "kind": "trash", "wait_for": "settled"}, FILE_DISCARDED),
        ({"unstored": UnstoredFiles(waiting=1, discarded=1), "kind": "trash"}, UNTIL_STORED),
        # A person changed the conversation, or a newer message arrived
        ({"change": "evt_2"}, superseded("changed_by_somebody: evt_2")),
        ({"change": "evt_2", "kind": "trash"}, superseded("changed_by_somebody: evt_2")),
        ({"newer_message": "evt_3"}, superseded("newer_message: evt_3")),
        ({"newer_message": "evt_3", "kind": "trash"}, superseded("newer_message: evt_3")),
        ({"change": "evt_2", "newer_message": "evt_3"}, superseded("changed_by_somebody: evt_2")),
        # A superseded action waits for no file
        ({"change": "evt_2", "unstored": WAITING}, superseded("changed_by_somebody: evt_2")),
        ({"newer_message": "evt_3", "unstored": FAILED}, superseded("newer_message: evt_3")),
        # A tag overrules no person
        ({"change": "evt_2", "newer_message": "evt_3", "kind": "tag:tag_1"}, AT_ONCE),
        # The newest of several equal actions is sent, also for tags
        ({"equal_newer": "evt_4"}, superseded("coalesced: evt_4 does the same")),
        ({"equal_newer": "evt_4", "kind": "tag:tag_1"}, superseded("coalesced: evt_4 does the same")),
        ({"equal_newer": "evt_4", "change": "evt_2"}, superseded("coalesced: evt_4 does the same")),
        # Actions of a conversation run in order
        ({"earlier_open": "evt_0"}, Wait(reason="evt_0 of the same conversation comes first", seconds=1.0)),
        # It waits until the earlier action is due, at most a minute
        (
            {"earlier_open": "evt_0", "earlier_due_seconds": 30.0},
            Wait(reason="evt_0 of the same conversation comes first", seconds=30.0),
        ),
        (
            {"earlier_open": "evt_0", "earlier_due_seconds": 3_600.0},
            Wait(reason="evt_0 of the same conversation comes first", seconds=60.0),
        ),
        ({"earlier_open": "evt_0", "unstored": WAITING}, UNTIL_STORED),
        ({"earlier_open": "evt_0", "unstored": DISCARDED, "kind": "trash"}, FILE_DISCARDED),
        ({"earlier_open": "evt_0", "change": "evt_2"}, superseded("changed_by_somebody: evt_2")),
    ],
)
def test_our_rows_decide_about_an_action(changes: dict[str, Any], decision: Settle | Wait | Proceed) -> None:
    assert decide_from_rows(facts(**changes)) == decision


@given(
    st.sampled_from(["archive", "trash", "tag:tag_1"]),
    st.sampled_from([UnstoredFiles(), WAITING, FAILED, DISCARDED]),
    st.none() | st.just("evt_2"),
    st.none() | st.just("evt_3"),
    st.floats(0, 1e6),
)
def test_a_possibly_sent_action_always_reads_the_conversation_first(
    kind: str, unstored: UnstoredFiles, change: str | None, equal: str | None, age: float
) -> None:
    sent = facts(
        kind=kind, state="intent", intent_at=AT, unstored=unstored, change=change, equal_newer=equal, age_seconds=age
    )
    assert decide_from_rows(sent) == READ_FIRST


@given(
    st.builds(UnstoredFiles, waiting=st.integers(0, 2), failed=st.integers(0, 2), discarded=st.integers(0, 2)),
    st.sampled_from(["stored", "settled"]),
    st.floats(0, 1e6),
)
def test_trash_never_acts_while_a_file_is_not_stored(unstored: UnstoredFiles, wait_for: str, age: float) -> None:
    decision = decide_from_rows(facts(kind="trash", unstored=unstored, wait_for=wait_for, age_seconds=age))
    assert isinstance(decision, Proceed) is (unstored == UnstoredFiles())


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({}, "dry_run: would have archived cnv_1"),
        ({"kind": "trash"}, "dry_run: would have trashed cnv_1"),
        ({"kind": "tag:tag_1"}, "dry_run: would have added tag_1 to cnv_1"),
    ],
)
def test_a_dry_run_is_skipped_instead_of_written(changes: dict[str, Any], decision: str) -> None:
    assert decide_from_rows(facts(dry_run=True, **changes)) == Settle(state="skipped", reason=decision)


@pytest.mark.parametrize(
    "changes",
    [
        {"unstored": WAITING},
        {"age_seconds": FRESH_SECONDS + 0.1},
        {"change": "evt_9"},
        {"kind": "trash", "unstored": DISCARDED},
        {"earlier_open": "evt_0"},
    ],
)
def test_before_the_write_a_dry_run_is_decided_like_its_action(changes: dict[str, Any]) -> None:
    assert decide_from_rows(facts(dry_run=True, **changes)) == decide_from_rows(facts(**changes))


@pytest.mark.parametrize(
    "changes",
    [{}, {"kind": "tag:tag_1"}, {"unstored": WAITING}, {"equal_newer": "evt_9"}, {"earlier_open": "evt_0"}],
)
def test_an_undo_supersedes_an_action_before_it_is_applied(changes: dict[str, Any]) -> None:
    reason = "undone: somebody asked for that before it was applied"
    assert decide_from_rows(facts(undo_asked=True, **changes)) == superseded(reason)


def test_a_possibly_sent_action_is_read_first_despite_an_undo() -> None:
    assert decide_from_rows(facts(undo_asked=True, state="intent", intent_at=AT)) == READ_FIRST


@pytest.mark.parametrize("kind", ["archive", "trash", "tag:tag_1"])
@pytest.mark.parametrize("age_seconds", [0.0, FRESH_SECONDS])
def test_an_action_that_begins_undisputed_would_proceed_unread(kind: str, age_seconds: float) -> None:
    """The database records such an intent itself: fresh, planned, alone in its conversation and without files."""
    assert decide_from_rows(facts(kind=kind, age_seconds=age_seconds)) == Proceed(read_first=False)
