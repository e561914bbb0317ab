"""Records stored bodies: those of parked events whose company has a tenant now, and any event's once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from shared.db.core.arrays import Bigints, Booleans, Texts
from shared.db.core.pool import Connection
from shared.db.recording.rows import EventRow
from shared.errors import MalformedEnvelope
from shared.models import EventKey

#: Of compressed bodies read at once; a single larger one is read alone.
MAX_BYTES = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class StoredDelivery:
    """The delivery of an event that keeps the event's body; `body` is compressed."""

    event_id: int
    id: str
    received_at: datetime
    origin: str
    body: bytes


def adoptable_deliveries(conn: Connection, limit: int = 200) -> list[StoredDelivery]:
    """Return deliveries of parked events whose company now has a tenant, oldest first.

    There are at most `limit`, and fewer when their bodies exceed MAX_BYTES.
    """
    with conn.cursor(row_factory=class_row(StoredDelivery)) as cur:
        return cur.execute(
            """
            SELECT event_id, id, received_at, origin, body FROM (
                SELECT *, sum(octet_length(body)) OVER (ORDER BY event_id, id) - octet_length(body) AS bytes_before
                FROM (SELECT parked.* FROM tenants t CROSS JOIN LATERAL (
                          SELECT e.id AS event_id, replace(d.id::text, '-', '') AS id, d.received_at, d.origin, d.body
                          FROM events e JOIN deliveries d ON d.event_id = e.id AND d.body IS NOT NULL
                          WHERE e.company_id = t.company_id AND e.state = 'parked' AND e.tenant_id IS NULL
                          ORDER BY e.id LIMIT %(limit)s) parked
                      WHERE t.connected_at IS NOT NULL AND t.parked_cause IS DISTINCT FROM 'erasing'
                      ORDER BY event_id LIMIT %(limit)s) oldest
            ) counted
            WHERE bytes_before < %(bytes)s
            ORDER BY event_id, id
            """,
            {"limit": limit, "bytes": MAX_BYTES},
        ).fetchall()


def find(conn: Connection, event_id: int) -> StoredDelivery | None:
    """Return the first delivery of the event with a body; None when retention removed it."""
    with conn.cursor(row_factory=class_row(StoredDelivery)) as cur:
        return cur.execute(
            """
            SELECT event_id, replace(id::text, '-', '') AS id, received_at, origin, body FROM deliveries
            WHERE event_id = %s AND body IS NOT NULL ORDER BY received_at, id LIMIT 1
            """,
            (event_id,),
        ).fetchone()


def adopt_events(conn: Connection, events: Sequence[EventRow]) -> dict[EventKey, int]:
    """Give parked events of an unknown company to the tenant that has the company now; return the ids it got."""
    rows = conn.execute(
        """
        UPDATE events e
        SET tenant_id = k.tenant_id, state = k.state, cause = k.cause, recipients = k.recipients::json,
            to_announce = k.to_announce
        FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::boolean[])
             AS k(company_id, front_id, tenant_id, state, cause, recipients, to_announce)
        WHERE e.company_id = k.company_id AND e.front_id = k.front_id AND e.tenant_id IS NULL AND e.state = 'parked'
        RETURNING e.company_id, e.front_id, e.id
        """,
        (
            Texts(event.company_id for event in events),
            Texts(event.front_id for event in events),
            Bigints(event.tenant_id for event in events),
            Texts(event.state for event in events),
            Texts(event.cause for event in events),
            Texts(event.recipients for event in events),
            Booleans(event.to_announce for event in events),
        ),
    )
    return {(company_id, front_id): event_id for company_id, front_id, event_id in rows}


def fail_parked(conn: Connection, event_ids: Sequence[int], reason: str) -> None:
    """Let those of the events fail visibly that are still parked although their company has a tenant."""
    conn.execute(
        """
        WITH failed AS (
            UPDATE events SET state = 'failed', cause = %(code)s
            WHERE id = ANY(%(ids)s) AND state = 'parked' AND tenant_id IS NULL
              AND EXISTS (SELECT FROM tenants WHERE tenants.company_id = events.company_id
                          AND parked_cause IS DISTINCT FROM 'erasing') RETURNING id
        )
        INSERT INTO tasks (event_id, kind, state, code, detail, settled_at)
        SELECT id, 'record', 'failed', %(code)s, %(detail)s, now() FROM failed
        """,
        {"code": MalformedEnvelope.code, "ids": list(event_ids), "detail": reason},
    )
