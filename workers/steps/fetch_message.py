"""Reads a message whose webhook left out recipients or attachments, and plans what follows from it."""

from __future__ import annotations

from dataclasses import replace

from shared.db import events, recording
from shared.db.pool import Connection
from shared.errors import FrontRejected
from shared.models import Message
from workers.attempt import Attempt
from workers.recording.chunk import find_owners
from workers.recording.plan import plan_message
from workers.recording.write import PlannedEvent, write_plans


def fetch_message(attempt: Attempt) -> None:
    """Fetch the event's message and write what its webhook would have led to."""
    event = attempt.transaction(lambda conn: events.get(conn, attempt.task.event_id))
    front = attempt.front()
    if event.message_id:
        message = front.message(event.message_id)
    elif event.conversation_id:
        message = front.latest_message(event.conversation_id)
    else:
        raise FrontRejected("the event names neither message nor conversation: there is nothing to fetch")
    attempt.finish("done", lambda conn: _write(conn, event, message))


def _write(conn: Connection, event: events.Event, message: Message) -> None:
    # What Front's own answer leaves out is not there.
    message = replace(message, recipients=message.recipients or (), attachments=message.attachments or ())
    now = recording.begin(conn)
    tenant = recording.tenants_of(conn, [event.company_id])[event.company_id]
    plan = plan_message(
        tenant,
        message,
        find_owners(conn, [(tenant, message)]).get(tenant.id, {}),
        event_type=event.type,
        conversation_id=event.conversation_id,
        emitted_at=event.emitted_at,
        now=now,
    )
    events.name_message(conn, event.id, message.id)
    write_plans(
        conn,
        [
            PlannedEvent(
                event_id=event.id,
                tenant_id=tenant.id,
                conversation_id=event.conversation_id or "",
                emitted_at=event.emitted_at,
                plan=plan,
            )
        ],
    )
