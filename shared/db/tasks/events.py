"""Events and attachments as the workers' steps read and update them, and merged conversations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from shared.db.core.locks import lock_conversations
from shared.db.core.pool import Connection

# A file is announced on its own only where an endpoint names the type.
_ANNOUNCE = """
INSERT INTO outbox (tenant_id, conversation_id, type, event_id, attachment_id)
SELECT marked.tenant_id, marked.conversation_id, %(type)s, marked.event_id, marked.id
FROM marked JOIN feed_state ON %(type)s = ANY(feed_state.file_types)
"""
_MARK_STORED = f"""
WITH marked AS (
    UPDATE attachments SET state = 'stored', size = %(size)s, sha256 = %(sha256)s, path = %(path)s, stored_at = now()
    WHERE id = %(id)s RETURNING *
) {_ANNOUNCE}
""".encode()  # noqa: S608 -- put together from our own statements
_MARK = f"""
WITH marked AS (
    UPDATE attachments SET state = CASE WHEN stored_at IS NULL THEN %(state)s ELSE 'stored' END
    WHERE id = %(id)s AND state <> 'stored' RETURNING *
) {_ANNOUNCE}
WHERE marked.state = %(state)s
""".encode()  # noqa: S608 -- as above

#: Front sends an event about three times; a repair may find it once more.
MOST_LATER_DELIVERIES = 8
_LATER_DELIVERIES = b"""
SELECT replace(id::text, '-', '') FROM deliveries WHERE event_id = %(event)s
ORDER BY received_at OFFSET 1 LIMIT %(most)s
"""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A recorded event of a known tenant. `emitted_at` is None when nobody can tell how old it is."""

    id: int
    company_id: str
    type: str
    conversation_id: str | None
    message_id: str | None
    emitted_at: datetime | None
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a message. `declared_size` is the size it must have, None when any size is accepted."""

    front_id: str
    declared_size: int | None


def later_deliveries(conn: Connection, event_id: int) -> list[str]:
    """Return the ids of the event's deliveries but the first, as the log and traces have them; a few at most."""
    rows = conn.execute(_LATER_DELIVERIES, {"event": event_id, "most": MOST_LATER_DELIVERIES})
    return [delivery_id for (delivery_id,) in rows]


def get(conn: Connection, event_id: int) -> Event:
    """Return the event. Raises LookupError when it was deleted."""
    with conn.cursor(row_factory=class_row(Event)) as cur:
        event = cur.execute(
            "SELECT id, company_id, type, conversation_id, message_id, emitted_at, received_at"
            " FROM events WHERE id = %s",
            (event_id,),
        ).fetchone()
    if event is None:
        raise LookupError(f"event {event_id} is gone")
    return event


def save_message(conn: Connection, event_id: int, *, message_id: str | None, recipients: str | None) -> bool:
    """Store the id of the message and its recipients, as `rows.recipients_json` returns them.

    Returns whether it is for other users than before: then it is to be announced, also if it was announced already.
    """
    row = conn.execute(
        """
        WITH known AS (
            SELECT id, ARRAY(SELECT DISTINCT r->>2 FROM json_array_elements(recipients) r
                             WHERE r->>2 IS NOT NULL ORDER BY 1)
                   <> ARRAY(SELECT DISTINCT r->>2 FROM json_array_elements(%(recipients)s::json) r
                            WHERE r->>2 IS NOT NULL ORDER BY 1) AS is_for_others
            FROM events WHERE id = %(event)s
        )
        UPDATE events e SET message_id = coalesce(e.message_id, %(message)s), recipients = %(recipients)s::json,
               to_announce = e.to_announce OR known.is_for_others
        FROM known WHERE e.id = known.id RETURNING known.is_for_others
        """,
        {"event": event_id, "message": message_id, "recipients": recipients},
    ).fetchone()
    return bool(row and row[0])


def file_to_store(conn: Connection, attachment_id: int) -> File:
    """Return the attachment as Front announced it. Raises LookupError when it was deleted."""
    with conn.cursor(row_factory=class_row(File)) as cur:
        file = cur.execute("SELECT front_id, declared_size FROM attachments WHERE id = %s", (attachment_id,)).fetchone()
    if file is None:
        raise LookupError(f"attachment {attachment_id} is gone")
    return file


def keep_fetched_message(conn: Connection, event_id: int, tenant_id: int, body: bytes) -> None:
    """Store the message as Front's API returned it, compressed: the webhook had only a part of it."""
    conn.execute(
        "INSERT INTO fetched_messages (event_id, tenant_id, body) VALUES (%s, %s, %s)"
        " ON CONFLICT (event_id) DO UPDATE SET body = excluded.body",
        (event_id, tenant_id, body),
    )


def mark_file_stored(conn: Connection, attachment_id: int, *, size: int, sha256: str, path: str) -> None:
    """Record that the file is durable in the storage."""
    conn.execute(
        _MARK_STORED,
        {"id": attachment_id, "size": size, "sha256": sha256, "path": path, "type": "attachment.stored"},
    )


def mark_file(conn: Connection, attachment_id: int, state: str) -> None:
    """Set the file's state to waiting, failed or discarded, unless the file is stored.

    A file that was to be stored again is stored as it was before.
    """
    conn.execute(_MARK, {"id": attachment_id, "state": state, "type": f"attachment.{state}"})


def record_merge(conn: Connection, tenant_id: int, old_id: str, new_id: str) -> None:
    """Record that Front merged one conversation into another. It locks both, so it needs its own transaction.

    Front's latest answer counts: the surviving conversation is merged into none, so no chain becomes a circle.
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
