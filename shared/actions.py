"""What our own rows say about the undo of an action: pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.errors import InvalidPolicy

TAG = re.compile(r"tag:tag_[A-Za-z0-9]{1,64}")
INBOX = re.compile(r"inb_[A-Za-z0-9]{1,64}")


def validated_action(action: str) -> str:
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


def validate_wait_for(action: str, wait_for: str) -> None:
    """Raise InvalidPolicy where a trash is not to wait for every file: what it destroys must be stored."""
    if action == "trash" and wait_for == "settled":
        raise InvalidPolicy("trash always waits until every file is stored; use --wait-for stored")


def validated_inboxes(inbox_ids: Sequence[str]) -> list[str]:
    """The inboxes that a policy is narrowed to, each once. Raises InvalidPolicy for none, and for what is no id."""
    for inbox_id in inbox_ids:
        if not INBOX.fullmatch(inbox_id):
            raise InvalidPolicy(f"{inbox_id[:40]!r} is no inbox; Front's look like inb_3vq81c")
    if not inbox_ids:
        raise InvalidPolicy("no inbox is named; name one, or take all of them")
    return list(dict.fromkeys(inbox_ids))


@dataclass(frozen=True, kw_only=True)
class UnstoredFiles:
    """How many files of a conversation are not stored, by why; a message still to be read counts as waiting."""

    waiting: int = 0
    failed: int = 0
    discarded: int = 0


def wait_reason(kind: str, wait_for: str, unstored: UnstoredFiles) -> str | None:
    """Why an action must wait for files, or None. Trash always waits until every file is stored."""
    if unstored.waiting:
        return f"waits for {unstored.waiting} file(s) of the conversation to be stored"
    if unstored.failed and (kind == "trash" or wait_for == "stored"):
        return f"{unstored.failed} file(s) of the conversation could not be stored; retry or discard their tasks"
    return None


@dataclass(frozen=True, kw_only=True)
class UndoFacts:
    """One undo; the event ids are Front's. `conversation_id`: its id at Front now, another one when it was merged.

    Undone is the newest of the conversation's actions that is to be undone and was sent by us: `kind`, of an event
    `emitted_at`, sent at `sent_at` (None: there is none). `intent_at`: when the undo itself was about to be sent.
    `conversation_read`: Front was looked at just now.
    """

    event_id: int
    conversation_id: str
    kind: str
    emitted_at: datetime
    sent_at: datetime | None
    intent_at: datetime | None
    unsettled: str | None = None
    newer_undo: str | None = None
    sent_again: str | None = None
    change: str | None = None
    conversation_read: bool = False


@dataclass(frozen=True, kw_only=True)
class ActionFacts:
    """An action as it stands, and what else our rows know about its conversation since its event.

    `conversation_id`: its id at Front now, another one when it was merged. `age_seconds` since Front emitted its event,
    by the database's clock. `waiting`, `failed` and `discarded`: files of the conversation that are not stored.
    `change`, `equal_newer`, `newer_message` and `earlier_open` may overrule or precede the action; each names Front's
    event, or is None. `earlier_due_seconds`: until the earlier one is tried again.
    """

    event_id: int
    conversation_id: str
    kind: str
    wait_for: str
    state: str
    emitted_at: datetime
    intent_at: datetime | None
    age_seconds: float
    waiting: int = 0
    failed: int = 0
    discarded: int = 0
    dry_run: bool = False
    undo_asked: bool = False
    change: str | None = None
    equal_newer: str | None = None
    newer_message: str | None = None
    earlier_open: str | None = None
    earlier_due_seconds: float = 0.0

    @property
    def unstored(self) -> UnstoredFiles:
        """The files that are not stored."""
        return UnstoredFiles(waiting=self.waiting, failed=self.failed, discarded=self.discarded)
