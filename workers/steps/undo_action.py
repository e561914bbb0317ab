"""Undoes an action's change of its conversation when a person asked for that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from shared.actions import Observation, UndoFacts
from shared.db.core.pool import Connection
from shared.db.tasks import actions, leases, settling
from shared.errors import ConversationGone, FrontRejected
from shared.front.client import TenantClient
from shared.models import Task
from workers.attempts.attempt import Attempt
from workers.changes.change import make_change
from workers.changes.precedence import (
    API_SOURCES,
    CHANGE_WEBHOOKS,
    SHORT_SNAPSHOT_SECONDS,
    STATUS_AFTER,
    Precedence,
    Settle,
    tag_of,
)
from workers.changes.undo import decide_undo_from_front, decide_undo_from_rows


def undo_action(attempt: Attempt) -> None:
    """Reopen the conversation or remove the tag, if the conversation is still as we left it."""
    try:
        make_change(attempt, _Undo())
    except ConversationGone:
        event_id = attempt.task.event_id
        attempt.finish("skipped", lambda conn: _note_skipped(conn, event_id, "conversation_gone: Front has it no more"))


class _Undo:
    """The change that undoes an action."""

    def begin_undisputed(self, _conn: Connection, _task: Task) -> None:
        """Leave it to the decision: an undo reads the conversation first."""

    def load_facts(self, conn: Connection, task: Task) -> UndoFacts:
        leases.lock(conn, task)
        return actions.undo_facts(conn, task.event_id, changes=CHANGE_WEBHOOKS, api_sources=API_SOURCES)

    def as_untried(self, facts: UndoFacts) -> UndoFacts:
        return replace(facts, intent_at=None, conversation_read=True)

    def decide_from_rows(self, facts: UndoFacts) -> Precedence:
        return decide_undo_from_rows(facts)

    def snapshot_seconds(self, _facts: UndoFacts) -> float:
        return SHORT_SNAPSHOT_SECONDS

    def events_needed_since(self, facts: UndoFacts, front: Observation) -> datetime | None:
        is_as_we_left_it = front.status == STATUS_AFTER.get(facts.kind, front.status)
        return facts.emitted_at if is_as_we_left_it or facts.intent_at else None

    def decide_from_front(self, facts: UndoFacts, front: Observation) -> Settle | None:
        return decide_undo_from_front(facts, front)

    def calls_needed(self, facts: UndoFacts) -> int:
        return 4 if facts.kind == "trash" else 3  # `verify` reads it again

    def record_intent(self, conn: Connection, event_id: int) -> None:
        actions.record_undo_intent(conn, event_id)

    def withdraw_intent(self, conn: Connection, event_id: int) -> None:
        actions.withdraw_undo_intent(conn, event_id)

    def record_wait(self, conn: Connection, event_id: int, reason: str) -> None:
        """Do nothing: the attempt's row has the reason, and the action keeps its own."""

    def send(self, front: TenantClient, facts: UndoFacts) -> None:
        if facts.kind in STATUS_AFTER:
            front.set_status(facts.conversation_id, "open")
        else:
            front.remove_tag(facts.conversation_id, tag_of(facts.kind))

    def verify(self, front: TenantClient, facts: UndoFacts) -> None:
        """Check that the trash is left: Front's documents do not say that `open` takes a conversation out of it."""
        if facts.kind == "trash" and front.conversation(facts.conversation_id).status == STATUS_AFTER["trash"]:
            raise FrontRejected("Front took the change and left the conversation in the trash; restore it in Front")

    def confirm(self, attempt: Attempt, facts: UndoFacts) -> None:
        attempt.finish("done", lambda conn: actions.mark_undone(conn, facts.event_id))

    def settle(self, attempt: Attempt, task_state: str, settled: Settle) -> None:
        event_id = attempt.task.event_id
        if settled.state == "confirmed":
            attempt.finish(task_state, lambda conn: actions.mark_undone(conn, event_id))
        else:
            attempt.finish(task_state, lambda conn: _note_skipped(conn, event_id, settled.reason))


def _note_skipped(conn: Connection, event_id: int, reason: str) -> None:
    settling.add_journal_entry(conn, event_id, "undo skipped", detail=reason)
