"""A recorded event, as the worker's steps need it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from shared.db.pool import Connection


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
