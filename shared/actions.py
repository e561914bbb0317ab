"""Knows which policies can be carried out through Front's API: pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.errors import InvalidPolicy

TAG = re.compile(r"tag:tag_[A-Za-z0-9]{1,64}")
INBOX = re.compile(r"inb_[A-Za-z0-9]{1,64}")


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


def refuse_hasty_trash(action: str, wait_for: str) -> None:
    """Raise InvalidPolicy where a trash is not to wait for every file: what it destroys must be stored."""
    if action == "trash" and wait_for == "settled":
        raise InvalidPolicy("trash always waits until every file is stored; use --wait-for stored")


def checked_inboxes(inbox_ids: Sequence[str]) -> list[str]:
    """The inboxes that a policy is narrowed to, each once. Raises InvalidPolicy for none, and for what is no id."""
    for inbox_id in inbox_ids:
        if not INBOX.fullmatch(inbox_id):
            raise InvalidPolicy(f"{inbox_id[:40]!r} is no inbox; Front's look like inb_3vq81c")
    if not inbox_ids:
        raise InvalidPolicy("no inbox is named; name one, or take all of them")
    return list(dict.fromkeys(inbox_ids))
