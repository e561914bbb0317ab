"""Decides which rows follow from a message: pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shared.front.envelope import INBOUND
from shared.models import Message, Owners, Plan, PlannedAction, Tenant
from workers.matching import match_recipients
from workers.policy import plan_action


def plan_message(  # noqa: PLR0913 -- the facts of one message, each named at the call
    tenant: Tenant,
    message: Message,
    owners: Owners,
    *,
    event_type: str,
    conversation_id: str | None,
    emitted_at: datetime,
    now: datetime,
    inbox_ids: Sequence[str] = (),
) -> Plan:
    """Plan matches, attachments and action of a message event. An incomplete message must be fetched first."""
    if message.recipients is None or message.attachments is None:
        return Plan(fetch=True)
    matches = match_recipients(message.recipients, owners, fold_plus=tenant.fold_plus)
    action = None
    if event_type == INBOUND:
        users = {match.user.user_id: match.user for match in matches if match.user}
        action = plan_action(tenant, users.values(), emitted_at=emitted_at, now=now, inbox_ids=inbox_ids)
        if conversation_id is None and action.state == "planned":
            action = PlannedAction(
                kind=action.kind,
                wait_for=action.wait_for,
                state="skipped",
                reason="no_conversation: the event names none",
            )
    return Plan(matches=matches, attachments=message.attachments, action=action)
