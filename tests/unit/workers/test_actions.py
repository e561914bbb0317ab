"""Which actions a policy may name."""

from __future__ import annotations

import pytest

from shared.actions import checked_action
from shared.errors import InvalidPolicy


@pytest.mark.parametrize("action", ["none", "archive", "trash", "tag:tag_3vq81c"])
def test_an_action_of_fronts_api_is_taken(action: str) -> None:
    assert checked_action(action) == action


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
        checked_action(action)


def test_mark_read_is_refused_for_what_fronts_api_cannot_do() -> None:
    with pytest.raises(InvalidPolicy, match="cannot set read or unread"):
        checked_action("mark_read")
