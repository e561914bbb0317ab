"""What our own rows say about the undo of an action: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.blocking import Unstored


@dataclass(frozen=True, kw_only=True)
class UndoFacts:
    """One undo; the event ids are Front's. `conversation_id`: its id at Front now, another one when it was merged.

    Undone is the newest of the conversation's actions that is to be undone and was sent by us: `kind`, of an event
    `emitted_at`, sent at `sent_at` (None: there is none). `intent_at`: when the undo itself was about to be sent.
    `looked`: Front was looked at just now.
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
    looked: bool = False


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
    def unstored(self) -> Unstored:
        """The files that are not stored."""
        return Unstored(waiting=self.waiting, failed=self.failed, discarded=self.discarded)
