"""A recorded event, as the worker's steps need it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from shared.db.core.locks import lock_conversations
from shared.db.core.pool import Connection


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a known tenant."""

    id: int
    company_id: str
    type: str
    conversation_id: str | None
    message_id: str | None
    emitted_at: datetime


def get(conn: Connection, event_id: int) -> Event:
    """The event. Raises LookupError when it is gone."""
    with conn.cursor(row_factory=class_row(Event)) as cur:
        event = cur.execute(
            "SELECT id, company_id, type, conversation_id, message_id, coalesce(emitted_at, received_at) AS emitted_at"
            " FROM events WHERE id = %s",
            (event_id,),
        ).fetchone()
    if event is None:
        raise LookupError(f"event {event_id} is gone")
    return event


def complete(conn: Connection, event_id: int, *, message_id: str | None, recipients: str | None) -> None:
    """Keep what was fetched for the event: its message's id, and the recipients as `rows.as_json` spells them."""
    conn.execute(
        "UPDATE events SET message_id = coalesce(message_id, %s), recipients = %s::json WHERE id = %s",
        (message_id, recipients, event_id),
    )


def front_id_of(conn: Connection, attachment_id: int) -> str:
    """Front's id of the attachment. Raises LookupError when it is gone."""
    row = conn.execute("SELECT front_id FROM attachments WHERE id = %s", (attachment_id,)).fetchone()
    if row is None:
        raise LookupError(f"attachment {attachment_id} is gone")
    return str(row[0])


def mark_file_stored(conn: Connection, attachment_id: int, *, size: int, sha256: str, path: str) -> None:
    """The bytes are durable."""
    conn.execute(
        "UPDATE attachments SET state = 'stored', size = %s, sha256 = %s, path = %s, stored_at = now() WHERE id = %s",
        (size, sha256, path, attachment_id),
    )


def mark_file(conn: Connection, attachment_id: int, state: str) -> None:
    """The file is waiting, failed or discarded."""
    conn.execute("UPDATE attachments SET state = %s WHERE id = %s AND state <> 'stored'", (state, attachment_id))


def note_merge(conn: Connection, tenant_id: int, old_id: str, new_id: str) -> None:
    """Remember that a conversation lives on as another. A transaction of its own: it locks both, in everybody's order.

    Front's latest word counts: what it leads to now is merged into nothing, so no chain ever ends where it began.
    """
    lock_conversations(conn, [(tenant_id, old_id), (tenant_id, new_id)])
    conn.execute("DELETE FROM merged_conversations WHERE tenant_id = %s AND conversation_id = %s", (tenant_id, new_id))
    conn.execute(
        """
        INSERT INTO merged_conversations (tenant_id, conversation_id, merged_into) VALUES (%s, %s, %s)
        ON CONFLICT (tenant_id, conversation_id) DO UPDATE SET merged_into = excluded.merged_into, noticed_at = now()
        """,
        (tenant_id, old_id, new_id),
    )
