"""Applies an action to its conversation, unless something overruled it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from shared.actions import ActionFacts
from shared.db.core.pool import Connection
from shared.db.tasks import actions
from shared.front.client import TenantClient
from shared.models import Task
from workers.attempts.attempt import Attempt
from workers.changes.change import make_change
from workers.changes.precedence import (
    API_SOURCES,
    CHANGES,
    STATUS,
    Observation,
    Proceed,
    Settle,
    Wait,
    after_looking,
    before,
)


def apply_action(attempt: Attempt) -> None:
    """Do to the conversation what its event's policy says."""
    make_change(attempt, _Applying(recorded_as=attempt.task.conversation_id))


@dataclass(frozen=True, kw_only=True)
class _Applying:
    """An action of a policy, for a conversation that was recorded under this id."""

    recorded_as: str

    def facts(self, conn: Connection, task: Task) -> ActionFacts:
        return actions.lock_action(conn, task, changes=CHANGES, api_sources=API_SOURCES)

    def untried(self, facts: ActionFacts) -> ActionFacts:
        return replace(facts, state="planned", intent_at=None, age_seconds=0.0)

    def before(self, facts: ActionFacts) -> Settle | Wait | Proceed:
        return before(facts)

    def events_since(self, facts: ActionFacts, status: str) -> datetime | None:
        wanted = STATUS.get(facts.kind)
        return None if wanted is None or status == wanted else facts.intent_at or facts.emitted_at

    def after(self, facts: ActionFacts, front: Observation) -> Settle | None:
        return after_looking(facts, front)

    def intend(self, conn: Connection, event_id: int) -> None:
        actions.record_intent(conn, event_id)

    def unintend(self, conn: Connection, event_id: int) -> None:
        actions.withdraw_intent(conn, event_id)

    def explain(self, conn: Connection, event_id: int, reason: str) -> None:
        actions.set_reason(conn, event_id, reason)

    def send(self, front: TenantClient, facts: ActionFacts) -> None:
        if status := STATUS.get(facts.kind):
            front.set_status(facts.conversation_id, status)
        else:
            front.add_tag(facts.conversation_id, facts.kind.partition(":")[2])

    def check(self, front: TenantClient, facts: ActionFacts) -> None:
        """Front says what its answers to these calls mean."""

    def confirm(self, attempt: Attempt, facts: ActionFacts) -> None:
        reason = "applied"
        if facts.conversation_id != self.recorded_as:
            reason = f"applied to {facts.conversation_id}, which the conversation was merged into"
        attempt.finish_action("done", "confirmed", reason)

    def settle(self, attempt: Attempt, state: str, settled: Settle) -> None:
        attempt.finish_action(state, settled.state, settled.reason)
