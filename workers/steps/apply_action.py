"""Applies an action to its conversation, unless something has overruled it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from shared.actions import ActionFacts, Observation
from shared.db.core.pool import Connection
from shared.db.tasks import actions
from shared.front.client import TenantClient
from shared.models import Task
from workers.attempts.attempt import Attempt
from workers.changes.change import make_change
from workers.changes.precedence import (
    API_SOURCES,
    CHANGE_WEBHOOKS,
    FRESH_SECONDS,
    SHORT_SNAPSHOT_SECONDS,
    SNAPSHOT_SECONDS,
    STATUS_AFTER,
    Precedence,
    Settle,
    decide_from_front,
    decide_from_rows,
    events_needed_since,
    tag_of,
)


def apply_action(attempt: Attempt) -> None:
    """Do to the conversation what the policy planned for its event."""
    make_change(attempt, _PlannedChange(recorded_conversation_id=attempt.task.conversation_id))


@dataclass(frozen=True, kw_only=True)
class _PlannedChange:
    """The change of a planned action. The event named the conversation by `recorded_conversation_id`."""

    recorded_conversation_id: str

    def begin_undisputed(self, conn: Connection, task: Task) -> ActionFacts | None:
        return actions.begin_undisputed(conn, task, fresh_seconds=FRESH_SECONDS)

    def load_facts(self, conn: Connection, task: Task) -> ActionFacts:
        return actions.lock_action(conn, task, changes=CHANGE_WEBHOOKS, api_sources=API_SOURCES)

    def as_untried(self, facts: ActionFacts) -> ActionFacts:
        return replace(facts, state="planned", intent_at=None, age_seconds=0.0)

    def decide_from_rows(self, facts: ActionFacts) -> Precedence:
        return decide_from_rows(facts)

    def snapshot_seconds(self, facts: ActionFacts) -> float:
        return SHORT_SNAPSHOT_SECONDS if facts.kind == "trash" else SNAPSHOT_SECONDS

    def events_needed_since(self, facts: ActionFacts, front: Observation) -> datetime | None:
        return events_needed_since(facts, front)

    def decide_from_front(self, facts: ActionFacts, front: Observation) -> Settle | None:
        return decide_from_front(facts, front)

    def calls_needed(self, facts: ActionFacts) -> int:
        needs_events = facts.kind in STATUS_AFTER or facts.state == "intent"
        return 3 if needs_events else 2

    def record_intent(self, conn: Connection, event_id: int) -> None:
        actions.record_intent(conn, event_id)

    def withdraw_intent(self, conn: Connection, event_id: int) -> None:
        actions.withdraw_intent(conn, event_id)

    def record_wait(self, conn: Connection, event_id: int, reason: str) -> None:
        actions.set_reason(conn, event_id, reason)

    def send(self, front: TenantClient, facts: ActionFacts) -> None:
        if status := STATUS_AFTER.get(facts.kind):
            front.set_status(facts.conversation_id, status)
        else:
            front.add_tag(facts.conversation_id, tag_of(facts.kind))

    def verify(self, front: TenantClient, facts: ActionFacts) -> None:
        """Do nothing: Front documents the meaning of its answers to these calls."""

    def confirm(self, attempt: Attempt, facts: ActionFacts) -> None:
        reason = "applied"
        if facts.conversation_id != self.recorded_conversation_id:
            reason = f"applied to {facts.conversation_id}, which the conversation was merged into"
        attempt.finish_action("done", "confirmed", reason)

    def settle(self, attempt: Attempt, task_state: str, settled: Settle) -> None:
        attempt.finish_action(task_state, settled.state, settled.reason)
