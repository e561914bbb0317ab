"""Lists events and finds one by any of its names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row

from shared.db.reading.filters import Filter, where
from shared.text import clean

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


LONGEST_NAME = 200
DELIVERY_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class EventRow:
    """An event as a list shows it; `number` is our id of it, `id` Front's."""

    id: str
    number: int
    company_id: str
    tenant: str | None
    type: str
    state: str
    cause: str | None
    conversation_id: str | None
    received_at: datetime


ROWS = """
    SELECT s.front_id AS id, s.id AS number, s.company_id, s.tenant, s.type, s.state, s.cause, s.conversation_id,
        s.received_at
    FROM shown_events s
"""

CONDITIONS = {
    "tenant_id": "s.tenant_id = %(tenant_id)s",
    # The second half lets the index on unfinished events find them: parked may be derived from processing.
    "state": "s.state = %(state)s AND EXISTS (SELECT FROM events b WHERE b.id = s.id AND b.state IN "
    "(%(state)s, CASE %(state)s WHEN 'parked' THEN 'processing' END))",
    "code": "(s.cause = %(code)s OR EXISTS (SELECT FROM tasks k WHERE k.event_id = s.id AND k.code = %(code)s))",
    "kind": "EXISTS (SELECT FROM tasks k WHERE k.event_id = s.id AND k.kind = %(kind)s)",
    "since": "s.received_at >= %(since)s",
}


def newest(conn: Connection, wanted: Filter, *, limit: int) -> list[EventRow]:
    """The newest events that fit, newest first."""
    order = "s.received_at DESC, s.id DESC" if wanted.tenant_id is not None else "s.id DESC"
    query = sql.SQL(ROWS) + where(wanted, CONDITIONS) + sql.SQL(" ORDER BY " + order + " LIMIT %(limit)s")
    with conn.cursor(row_factory=class_row(EventRow)) as cursor:
        return cursor.execute(query, {**wanted.values(), "limit": limit}).fetchall()


def named(conn: Connection, name: str, *, company_id: str | None = None) -> list[EventRow]:
    """The events that `name` may mean: Front's id, our number, or the id of a delivery."""
    name = clean(name, LONGEST_NAME)
    conditions = ["s.front_id = %(name)s"]
    if name.isascii() and name.isdigit() and len(name) < 19:
        conditions.append("s.id = %(name)s::bigint")
    if DELIVERY_ID.fullmatch(name):
        conditions.append("s.id = (SELECT event_id FROM deliveries WHERE id = %(name)s::uuid)")
    either = sql.SQL(" OR ".join(conditions))
    query = sql.SQL(ROWS) + sql.SQL("WHERE ({}) AND (%(company)s::text IS NULL OR s.company_id = %(company)s)").format(
        either
    )
    with conn.cursor(row_factory=class_row(EventRow)) as cursor:
        return cursor.execute(query, {"name": name, "company": company_id}).fetchall()


def first_body(conn: Connection, number: int) -> bytes | None:
    """The body that was kept of the event, compressed; None when retention removed it."""
    row = conn.execute(
        "SELECT body FROM deliveries WHERE event_id = %s AND body IS NOT NULL ORDER BY received_at, id LIMIT 1",
        (number,),
    ).fetchone()
    return bytes(row[0]) if row else None


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
