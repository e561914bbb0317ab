"""Knows which actions Front's API can carry out: pure."""

from __future__ import annotations

import re

from shared.errors import InvalidPolicy

TAG = re.compile(r"tag:tag_[A-Za-z0-9]{1,64}")


def checked_action(action: str) -> str:
    """The action itself when it is one. Raises InvalidPolicy saying what can be chosen."""
    if action == "mark_read":
        raise InvalidPolicy(
            "mark_read: Front's API cannot set read or unread; choose none, archive, trash or tag:TAG_ID"
        )
    if action not in {"none", "archive", "trash"} and not TAG.fullmatch(action):
        raise InvalidPolicy(
            f"{action[:40]!r} is no action; choose none, archive, trash or tag:TAG_ID (as in tag:tag_3vq81c)"
        )
    return action
