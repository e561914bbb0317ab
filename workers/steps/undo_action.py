"""Undoes what an action did to its conversation, when a person asked for that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from shared.actions import UndoFacts
from shared.db.core.pool import Connection
from shared.db.tasks import actions as undo_rows
from shared.db.tasks import leases, settling
from shared.errors import ConversationGone, FrontRejected
from shared.front.client import TenantClient
from shared.models import Task
from workers.attempts.attempt import Attempt
from workers.changes.change import make_change
from workers.changes.precedence import API_SOURCES, CHANGES, STATUS, Observation, Proceed, Settle, Wait
from workers.changes.undo import after_looking_to_undo, before_undoing


def undo_action(attempt: Attempt) -> None:
    """Reopen the conversation or take the tag off, if it is still as we left it."""
    try:
        make_change(attempt, _Undoing())
    except ConversationGone:
        event_id = attempt.task.event_id
        attempt.finish("skipped", lambda conn: _skip(conn, event_id, "conversation_gone: Front has it no more"))


class _Undoing:
    """The undo of an action."""

    def facts(self, conn: Connection, task: Task) -> UndoFacts:
        leases.hold(conn, task)
        return undo_rows.undo_facts(conn, task.event_id, changes=CHANGES, api_sources=API_SOURCES)

    def untried(self, facts: UndoFacts) -> UndoFacts:
        return replace(facts, intent_at=None, conversation_read=True)

    def before(self, facts: UndoFacts) -> Settle | Wait | Proceed:
        return before_undoing(facts)

    def events_since(self, facts: UndoFacts, status: str) -> datetime | None:
        as_we_left_it = status == STATUS.get(facts.kind, status)
        return facts.emitted_at if as_we_left_it or facts.intent_at else None

    def after(self, facts: UndoFacts, front: Observation) -> Settle | None:
        return after_looking_to_undo(facts, front)

    def intend(self, conn: Connection, event_id: int) -> None:
        undo_rows.intend_undo(conn, event_id)

    def unintend(self, conn: Connection, event_id: int) -> None:
        undo_rows.unintend_undo(conn, event_id)

    def explain(self, conn: Connection, event_id: int, reason: str) -> None:
        """The attempt tells; the action keeps its own reason."""

    def send(self, front: TenantClient, facts: UndoFacts) -> None:
        if facts.kind in STATUS:
            front.set_status(facts.conversation_id, "open")
        else:
            front.remove_tag(facts.conversation_id, facts.kind.partition(":")[2])

    def check(self, front: TenantClient, facts: UndoFacts) -> None:
        """Nothing of Front's says that `open` also takes a conversation out of the trash."""
        if facts.kind == "trash" and front.conversation(facts.conversation_id).status == STATUS["trash"]:
            raise FrontRejected("Front took the change and left the conversation in the trash; restore it in Front")

    def confirm(self, attempt: Attempt, facts: UndoFacts) -> None:
        attempt.finish("done", lambda conn: undo_rows.undone(conn, facts.event_id))

    def settle(self, attempt: Attempt, state: str, settled: Settle) -> None:
        event_id = attempt.task.event_id
        if settled.state == "confirmed":
            attempt.finish(state, lambda conn: undo_rows.undone(conn, event_id))
        else:
            attempt.finish(state, lambda conn: _skip(conn, event_id, settled.reason))


def _skip(conn: Connection, event_id: int, reason: str) -> None:
    settling.note(conn, event_id, "undo skipped", detail=reason)
