"""Decides what follows from a message, and what is done to its conversation at the end: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from shared.actions import waits_for_host
from shared.front.envelope import INBOUND
from shared.models import MatchedUser, Message, Owners, Plan, PlannedAction, Tenant
from workers.matching import match_recipients

#: Of several users' choices the least destructive wins.
LEAST_DESTRUCTIVE_FIRST = ("none", "tag", "archive", "trash")


def plan_message(  # noqa: PLR0913 -- the facts of one message, each named at the call
    tenant: Tenant,
    message: Message,
    owners: Owners,
    *,
    event_type: str,
    conversation_id: str | None,
    emitted_at: datetime | None,
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


def plan_action(
    tenant: Tenant,
    users: Iterable[MatchedUser],
    *,
    emitted_at: datetime | None,
    now: datetime,
    inbox_ids: Sequence[str] = (),
) -> PlannedAction:
    """Choose the action for an inbound message to these users, in these inboxes. Without a time nothing is done."""
    users = list(users)
    kind, why = _choose(tenant, users)
    if not users and tenant.only_when_matched:
        return _skip(tenant, kind, "nobody_matched: no recipient is a user of this tenant")
    if kind == "none":
        return _skip(tenant, kind, f"no_action: {why}")
    if tenant.only_inboxes is not None and not set(tenant.only_inboxes) & set(inbox_ids):
        return _skip(tenant, kind, f"other_inbox: {_why_other_inbox(inbox_ids)}")
    if too_old := _why_too_old(tenant, emitted_at, now):
        return _skip(tenant, kind, too_old)
    if waits_for_host(kind, tenant.act_after):
        why += "; waits_for_host: the host application is to take the message first"
    return PlannedAction(
        kind=kind,
        wait_for=tenant.wait_for,
        state="planned",
        reason=why,
        dry_run=tenant.dry_run,
        act_after=tenant.act_after,
    )


def _why_too_old(tenant: Tenant, emitted_at: datetime | None, now: datetime) -> str | None:
    """Return why the age of the event forbids an action, None when it is fresh enough."""
    if emitted_at is None:
        return "unknown_age: the event names no time that can be read"
    if tenant.connected_at is None or emitted_at < tenant.connected_at:
        return "too_old: emitted before the tenant connected"
    if emitted_at < now - tenant.act_within:
        return f"too_old: emitted more than {_days(tenant)} ago"
    return None


def _choose(tenant: Tenant, users: list[MatchedUser]) -> tuple[str, str]:
    """Return the action and the reason for choosing it."""
    if not users:
        return tenant.action, "the tenant's policy"
    choices = {user.external_id: user.action or tenant.action for user in users}
    differ = len(set(choices.values())) > 1
    winner = min(choices, key=lambda external_id: _destruction(choices[external_id])) if differ else next(iter(choices))
    is_own = any(user.action for user in users if user.external_id == winner)
    why = f"the choice of user {winner}" if is_own else "the tenant's policy"
    if differ:
        why += f", the least destructive of {len(choices)} users' wishes"
    return choices[winner], why


def _destruction(action: str) -> int:
    return LEAST_DESTRUCTIVE_FIRST.index(action.partition(":")[0])


def _skip(tenant: Tenant, kind: str, reason: str) -> PlannedAction:
    return PlannedAction(kind=kind, wait_for=tenant.wait_for, state="skipped", reason=reason)


def _why_other_inbox(inbox_ids: Sequence[str]) -> str:
    if not inbox_ids:
        return "the policy is for some inboxes only, and the event does not say which it was in"
    return f"the policy is not for {', '.join(inbox_ids[:3])}"


def _days(tenant: Tenant) -> str:
    return f"{tenant.act_within.total_seconds() / 86_400:g} days"
