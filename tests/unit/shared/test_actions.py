"""The actions, waits and inboxes that a policy may name, and the files that an action waits for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.actions import (
    Observation,
    UnstoredFiles,
    validate_wait_for,
    validated_action,
    validated_inboxes,
    wait_reason,
)
from shared.errors import InvalidPolicy


@pytest.mark.parametrize("action", ["none", "archive", "trash", "tag:tag_3vq81c"])
def test_an_action_of_fronts_api_is_accepted(action: str) -> None:
    assert validated_action(action) == action


@pytest.mark.parametrize(
    "action",
    [
        "",
        "Archive",
        "delete",
        "archived",
        # A tag is named by its id
        "tag",
        "tag:",
        "tag:Invoices",
        "tag:tag_",
        "tag:tag_1/../2",
        "tag:tag_1\n",
        "tag:tag_" + "a" * 65,
    ],
)
def test_any_other_action_is_refused_with_the_choices(action: str) -> None:
    with pytest.raises(InvalidPolicy, match="choose none, archive, trash or tag:TAG_ID"):
        validated_action(action)


def test_mark_read_is_refused_because_fronts_api_cannot_do_it() -> None:
    with pytest.raises(InvalidPolicy, match="cannot set read or unread"):
        validated_action("mark_read")


@pytest.mark.parametrize(
    ("action", "wait_for"),
    [("trash", "stored"), ("archive", "settled"), ("none", "settled"), ("tag:tag_trash1", "settled")],
)
def test_only_trash_has_to_wait_for_stored_files(action: str, wait_for: str) -> None:
    validate_wait_for(action, wait_for)


def test_a_trash_that_would_not_wait_for_its_files_is_refused() -> None:
    with pytest.raises(InvalidPolicy, match="trash always waits"):
        validate_wait_for("trash", "settled")


def test_an_inbox_named_twice_counts_once() -> None:
    assert validated_inboxes(["inb_2", "inb_1", "inb_2"]) == ["inb_2", "inb_1"]


@pytest.mark.parametrize("inboxes", [[], ["Invoices"], ["inb_1", "inb_"], ["inb_1,inb_2"]])
def test_anything_but_inbox_ids_is_refused(inboxes: list[str]) -> None:
    with pytest.raises(InvalidPolicy, match="no inbox"):
        validated_inboxes(inboxes)


KINDS = ["archive", "tag:tag_1", "trash"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wait_for", ["stored", "settled"])
def test_a_waiting_file_holds_up_every_action(kind: str, wait_for: str) -> None:
    assert (
        wait_reason(kind, wait_for, UnstoredFiles(waiting=2)) == "waits for 2 file(s) of the conversation to be stored"
    )


@pytest.mark.parametrize(
    ("kind", "wait_for", "held_up"),
    [
        ("archive", "stored", True),
        ("tag:tag_1", "stored", True),
        ("trash", "stored", True),
        # A tenant may choose to do without a failed file
        ("archive", "settled", False),
        ("tag:tag_1", "settled", False),
        # Trash would destroy the only copy
        ("trash", "settled", True),
    ],
)
def test_a_failed_file_holds_up_actions_that_need_it(kind: str, wait_for: str, held_up: bool) -> None:
    reason = wait_reason(kind, wait_for, UnstoredFiles(failed=1))
    assert (reason is not None and reason.startswith("1 file(s)")) is held_up


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unstored", [UnstoredFiles(), UnstoredFiles(discarded=3)], ids=["all stored", "discarded"])
def test_no_action_waits_for_a_discarded_file(kind: str, unstored: UnstoredFiles) -> None:
    assert wait_reason(kind, "stored", unstored) is None


def test_waiting_files_are_named_before_failed_ones() -> None:
    reason = wait_reason("trash", "stored", UnstoredFiles(waiting=1, failed=1, discarded=1))
    assert reason == "waits for 1 file(s) of the conversation to be stored"


NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
A_SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("read_since", "needed", "has_them"),
    [
        (None, None, True),
        (NOON, None, True),
        (None, NOON, False),
        (NOON, NOON, True),
        (NOON - A_SECOND, NOON, True),
        (NOON + A_SECOND, NOON, False),
    ],
)
def test_an_observation_serves_where_its_events_reach_back_far_enough(
    read_since: datetime | None, needed: datetime | None, has_them: bool
) -> None:
    observation = Observation(status="open", tag_ids=frozenset(), events_since=read_since)
    assert observation.has_events_since(needed) is has_them
