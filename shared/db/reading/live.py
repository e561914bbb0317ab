"""The first that was heard of a tenant's company after a moment: what the admin who connected it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from shared.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class FirstEvent:
    """An event by its outside: no address and no word of what was written."""

    id: str
    type: str
    state: str
    cause: str | None
    received_at: datetime
    recipients: int
    matched: int


def first_since(conn: Connection, tenant_id: int, since: datetime) -> FirstEvent | None:
    """The tenant's first event whose delivery was received after `since`."""
    with conn.cursor(row_factory=class_row(FirstEvent)) as cursor:
        return cursor.execute(
            """
            SELECT s.front_id AS id, s.type, s.state, s.cause, s.received_at, count(r.event_id) AS recipients,
                count(r.user_id) AS matched
            FROM (SELECT * FROM shown_events WHERE tenant_id = %s AND received_at > %s
                  ORDER BY received_at, id LIMIT 1) s
            LEFT JOIN recipients r ON r.event_id = s.id AND r.role IN ('to', 'cc', 'bcc')
            GROUP BY s.front_id, s.type, s.state, s.cause, s.received_at
            """,
            (tenant_id, since),
        ).fetchone()
