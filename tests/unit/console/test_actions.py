"""Only what Front's API can do is an action."""

from __future__ import annotations

import pytest

from shared.actions import checked_action
from shared.errors import InvalidPolicy


@pytest.mark.parametrize("action", ["none", "archive", "trash", "tag:tag_3vq81c"])
def test_actions(action: str) -> None:
    assert checked_action(action) == action


@pytest.mark.parametrize(
    "action", ["", "Archive", "mark_read", "delete", "tag:", "tag:urgent", "tag:tag_a/../b", "archive\n"]
)
def test_anything_else_says_what_can_be_chosen(action: str) -> None:
    with pytest.raises(InvalidPolicy, match="choose none, archive, trash or tag:TAG_ID"):
        checked_action(action)
