"""Which actions, waits and inboxes a policy may name."""

from __future__ import annotations

import pytest

from shared.actions import validate_wait_for, validated_action, validated_inboxes
from shared.errors import InvalidPolicy


@pytest.mark.parametrize("action", ["none", "archive", "trash", "tag:tag_3vq81c"])
def test_an_action_of_fronts_api_is_taken(action: str) -> None:
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
def test_anything_else_is_refused_with_what_can_be_chosen(action: str) -> None:
    with pytest.raises(InvalidPolicy, match="choose none, archive, trash or tag:TAG_ID"):
        validated_action(action)


def test_mark_read_is_refused_for_what_fronts_api_cannot_do() -> None:
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
def test_what_names_no_inbox_is_refused(inboxes: list[str]) -> None:
    with pytest.raises(InvalidPolicy, match="no inbox"):
        validated_inboxes(inboxes)
