"""Fetches a message whose webhook left out recipients or attachments, and plans the work that follows from it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

from shared.db.core.pool import Connection
from shared.db.reading.events import first_body
from shared.db.recording import statements
from shared.db.tasks import events
from shared.errors import FrontRejected
from shared.front.envelope import parse_envelope
from shared.models import Message, Tenant
from workers.attempts.attempt import Attempt
from workers.policy import plan_message
from workers.recording.prepare import find_owners
from workers.recording.write import PlannedEvent, recipients_column, write_work_again


def fetch_message(attempt: Attempt) -> None:
    """Fetch the event's message, and write the rows that a complete webhook would have led to.

    Of a message that is fetched again, the rows are there: their work is done again.
    """
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
    # A part that Front's own answer leaves out does not exist.
    message = replace(message, recipients=message.recipients or (), attachments=message.attachments or ())
    now = statements.begin_writing(conn)
    tenant = statements.tenants_of(conn, [event.company_id])[event.company_id]
    plan = plan_message(
        tenant,
        message,
        find_owners(conn, [(tenant, message)]).get(tenant.id, {}),
        event_type=event.type,
        conversation_id=event.conversation_id,
        emitted_at=event.emitted_at,
        now=now,
        inbox_ids=_inbox_ids(conn, tenant, event.id),
    )
    if message.fetched:
        events.keep_fetched_message(conn, event.id, tenant.id, zlib.compress(message.fetched))
    events.save_message(conn, event.id, message_id=message.id, recipients=recipients_column(plan))
    planned = PlannedEvent(
        event_id=event.id,
        tenant_id=tenant.id,
        conversation_id=event.conversation_id or "",
        emitted_at=event.emitted_at or event.received_at,
        event_type=event.type,
        plan=plan,
    )
    write_work_again(conn, planned)


def _inbox_ids(conn: Connection, tenant: Tenant, event_id: int) -> Sequence[str]:
    """Return the event's inboxes from its own body, which is read again only for tenants whose policy names inboxes."""
    body = first_body(conn, event_id) if tenant.only_inboxes is not None else None
    return parse_envelope(zlib.decompress(body)).inbox_ids if body else ()
