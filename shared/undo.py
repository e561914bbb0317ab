"""What our own rows say about the undo of an action: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
