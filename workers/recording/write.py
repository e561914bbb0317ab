"""Writes the rows that follow from message events: attachments, actions, tasks, and the recipients' JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import NamedTuple

from shared.actions import waits_for_host
from shared.db.core.pool import Connection
from shared.db.host import outbox
from shared.db.host.outbox import OutboxRow
from shared.db.recording import statements
from shared.db.recording.rows import ActionRow, AttachmentRow, RecipientRow, TaskRow, recipients_json
from shared.db.recording.statements import NewTasks
from shared.db.tasks import reruns
from shared.front.envelope import INBOUND
from shared.models import Plan

#: The tasks of an event that is newer when it is recorded are live: no backlog holds them up.
LIVE_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class PlannedEvent:
    """A message event with an id, and the plan for its message."""

    event_id: int
    tenant_id: int
    conversation_id: str
    emitted_at: datetime
    event_type: str
    plan: Plan


class WorkRows(NamedTuple):
    """The rows of the work to be done. An action's task waits while its event has attachments to store.

    `live_events` are the ids of the events whose tasks are live. `complete` are the messages of which nothing is to be
    fetched or stored, each with the time of its event: whoever records them announces them.
    """

    attachments: Sequence[AttachmentRow]
    actions: Sequence[ActionRow]
    tasks: Sequence[TaskRow]
    live_events: Collection[int]
    complete: Sequence[tuple[datetime, OutboxRow]]

    def without(self, event_ids: Collection[int]) -> WorkRows:
        """Return the rows of all other events."""
        return WorkRows(
            attachments=[row for row in self.attachments if row.event_id not in event_ids],
            actions=[row for row in self.actions if row.event_id not in event_ids],
            tasks=[row for row in self.tasks if row.event_id not in event_ids],
            live_events=self.live_events,
            complete=[(at, row) for at, row in self.complete if row.event_id not in event_ids],
        )

    def tenant_ids(self, *, files_only: bool = False) -> set[int]:
        """Return the ids of the tenants that have tasks, or files to store, among these rows."""
        rows: Iterable[AttachmentRow | TaskRow] = (
            self.attachments if files_only else chain(self.attachments, self.tasks)
        )
        return {row.tenant_id for row in rows if row.tenant_id is not None}


def has_work(plan: Plan) -> bool:
    """Whether any task follows from the plan."""
    return plan.fetch or bool(plan.attachments) or _acts(plan)


def is_incomplete(plan: Plan) -> bool:
    """Whether a part of the message is still to be fetched or stored. It is announced after that, and not before."""
    return plan.fetch or bool(plan.attachments)


def work_rows(events: Sequence[PlannedEvent]) -> WorkRows:
    """Make the rows that follow from these events. Their recipients are a column of the events' own rows."""
    live_since = datetime.now(UTC) - timedelta(seconds=LIVE_SECONDS)
    return WorkRows(
        attachments=[row for event in events for row in _attachments(event)],
        actions=[row for event in events for row in _actions(event)],
        tasks=[row for event in events for row in _tasks(event)],
        live_events=[event.event_id for event in events if event.emitted_at > live_since],
        complete=[(event.emitted_at, _outbox_row(event)) for event in events if not is_incomplete(event.plan)],
    )


def write_work(conn: Connection, rows: WorkRows, new_tasks: NewTasks | None = None) -> None:
    """Insert the rows; each attachment gets a task that stores it.

    With `new_tasks`, the caller sends those of the tasks that are queued by it.
    """
    statements.insert_attachments(conn, rows.attachments, live_events=rows.live_events)
    statements.insert_actions(conn, rows.actions)
    if new_tasks:
        new_tasks.insert(conn, rows.tasks, live_events=rows.live_events)
    else:
        statements.insert_tasks(conn, rows.tasks, live_events=rows.live_events)


def announce(conn: Connection, rows: Iterable[WorkRows]) -> None:
    """Announce the complete messages among these rows: those of a conversation in the order of their events."""
    complete = sorted((at, row.event_id, row) for each in rows for at, row in each.complete)
    outbox.add_messages(conn, [row for *_, row in complete])


def write_work_again(conn: Connection, event: PlannedEvent) -> None:
    """Write the work of an event that may have some already, which is done again.

    Each file is stored again, and what is new in the plan is added. The new action takes the place of the old one,
    unless Front has that one or may have it: a change is never sent twice. The caller has locked the conversation.
    """
    rows = work_rows([event])
    known = reruns.known_files(conn, event.event_id)
    if known:
        reruns.rerun_tasks(conn, event.event_id, "store_attachment")
    new = [row for row in rows.attachments if row.front_id not in known]
    statements.insert_attachments(conn, new, live_events=rows.live_events)
    tasks = rows.tasks
    if reruns.has_action(conn, event.event_id):
        for action in rows.actions:
            reruns.replace_action(conn, action, waits=bool(rows.attachments))
        tasks = [task for task in tasks if task.kind != "apply_action"]
    else:
        statements.insert_actions(conn, rows.actions)
    if event.plan.fetch and reruns.rerun_tasks(conn, event.event_id, "fetch_message"):
        tasks = [task for task in tasks if task.kind != "fetch_message"]
    statements.insert_tasks(conn, tasks, live_events=rows.live_events)


def recipients_column(plan: Plan) -> str | None:
    """Encode the plan's recipients, with user and reason, for the event's row."""
    return recipients_json(
        [
            RecipientRow(recipient.handle, recipient.role, user.user_id if user else None, reason)
            for recipient, user, reason in plan.matches
        ]
    )


def _acts(plan: Plan) -> bool:
    return plan.action is not None and plan.action.state == "planned"


def _tasks(event: PlannedEvent) -> Iterator[TaskRow]:
    if event.plan.fetch:
        yield TaskRow(tenant_id=event.tenant_id, event_id=event.event_id, kind="fetch_message")
    action = event.plan.action
    if action and _acts(event.plan):
        waits = bool(event.plan.attachments) or waits_for_host(action.kind, action.act_after)
        yield TaskRow(tenant_id=event.tenant_id, event_id=event.event_id, kind="apply_action", waits=waits)


def _attachments(event: PlannedEvent) -> Iterator[AttachmentRow]:
    for attachment in event.plan.attachments:
        yield AttachmentRow(
            tenant_id=event.tenant_id,
            event_id=event.event_id,
            conversation_id=event.conversation_id,
            front_id=attachment.front_id,
            filename=attachment.filename,
            content_type=attachment.content_type,
            declared_size=attachment.declared_size,
            is_inline=attachment.is_inline,
        )


def _outbox_row(event: PlannedEvent) -> OutboxRow:
    return OutboxRow(event.tenant_id, event.conversation_id, _notification_type(event), event.event_id)


def _notification_type(event: PlannedEvent) -> str:
    """Return the type of the notification; message_notification_type of schema.sql decides the same for later ones."""
    if event.event_type != INBOUND:
        return "message.sent"
    return "message.received" if any(match.user for match in event.plan.matches) else "message.unmatched"


def _actions(event: PlannedEvent) -> Iterator[ActionRow]:
    if action := event.plan.action:
        yield ActionRow(
            event_id=event.event_id,
            tenant_id=event.tenant_id,
            conversation_id=event.conversation_id,
            kind=action.kind,
            wait_for=action.wait_for,
            state=action.state,
            reason=action.reason,
            dry_run=action.dry_run,
            act_after=action.act_after,
            emitted_at=event.emitted_at,
        )
