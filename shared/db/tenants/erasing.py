"""Erases a company: marked first, then in bounded transactions, its tenant last; begun again where it was interrupted.

From the mark on nothing is recorded, dispatched or connected for it. Which tables there are is read from the catalogue,
so that none is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.sql import SQL, Composed, Identifier

from shared.db.core.locks import begin_erasing
from shared.db.core.pool import Connection
from shared.errors import MailroomError

MARK = "erasing"  # as a tenant's parked_cause
_HANGING_ON_EVENTS = SQL("SELECT count(*) FROM events e JOIN {} x ON x.event_id = e.id WHERE e.company_id = %s")
_OF_TENANT = SQL("SELECT count(*) FROM {} WHERE tenant_id = %s")


class NotErasing(MailroomError):
    """The company is a tenant's again, or never was marked: nothing of it is erased."""

    code = "not_erasing"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Who is erased: a tenant, with its company if it has one, or a company that no tenant has."""

    tenant_id: int | None
    company_id: str | None


def mark_tenant(conn: Connection, tenant_id: int) -> Subject:
    """Let nothing more happen for the tenant and its company; its token is gone. Raises NotErasing."""
    begin_erasing(conn)
    row = conn.execute(
        "UPDATE tenants SET parked_cause = %(mark)s, parked_at = CASE parked_cause WHEN %(mark)s THEN parked_at"
        " ELSE now() END, probe_at = NULL, probe_task_id = NULL WHERE id = %(tenant)s RETURNING company_id",
        {"mark": MARK, "tenant": tenant_id},
    ).fetchone()
    if row is None:
        raise NotErasing("the tenant is gone already")
    conn.execute("DELETE FROM connections WHERE tenant_id = %s", (tenant_id,))
    if row[0] is not None:
        _bury(conn, row[0])
    return Subject(tenant_id=tenant_id, company_id=row[0])


def mark_company(conn: Connection, company_id: str) -> Subject:
    """Let nothing more be recorded of a company that no tenant has. Raises NotErasing when one has it."""
    begin_erasing(conn)
    owner = conn.execute("SELECT name FROM tenants WHERE company_id = %s", (company_id,)).fetchone()
    if owner is not None:
        raise NotErasing(f"{company_id} belongs to the tenant {owner[0]!r}; erase that one by its name")
    _bury(conn, company_id)
    return Subject(tenant_id=None, company_id=company_id)


def running(conn: Connection, tenant_id: int) -> int:
    """How many of the tenant's tasks are in work, with a lease that has not ended."""
    row = conn.execute(
        "SELECT count(*) FROM tasks WHERE tenant_id = %s AND state = 'running' AND lease_until > now()", (tenant_id,)
    ).fetchone()
    return int(row[0]) if row else 0


def is_erased(conn: Connection, tenant_id: int) -> bool:
    """Whether the tenant is gone or about to be."""
    row = conn.execute(
        "SELECT NOT EXISTS (SELECT FROM tenants WHERE id = %s AND parked_cause IS DISTINCT FROM %s)", (tenant_id, MARK)
    ).fetchone()
    return bool(row and row[0])


def count(conn: Connection, subject: Subject) -> dict[str, int]:
    """How many rows there are, by table, where there are any; however long that takes."""
    conn.execute("SET LOCAL statement_timeout = 0")
    counts = {"events": _one(conn, SQL("SELECT count(*) FROM events WHERE company_id = %s"), subject.company_id)}
    for table in _tables(conn, "event_id"):
        counts[table] = _one(conn, _HANGING_ON_EVENTS.format(Identifier(table)), subject.company_id)
    for table in of_tenants(conn):
        counts[table] = _one(conn, _OF_TENANT.format(Identifier(table)), subject.tenant_id)
    return {table: number for table, number in counts.items() if number}


def delete_events(conn: Connection, company_id: str, *, after: str, limit: int) -> tuple[int, str]:
    """Delete the company's next events behind that one of Front's ids, with all that hangs on them. Raises NotErasing.

    How many, 0 when none is left, and the last one's id: beginning at the first each time would pass over all that is
    deleted, and be the slower the more there was. Their tasks first, which is where whoever works on one begins, too.
    """
    _begin_batch(conn, company_id)
    rows = conn.execute(
        "SELECT id, front_id FROM events WHERE company_id = %s AND front_id > %s ORDER BY front_id LIMIT %s",
        (company_id, after, limit),
    ).fetchall()
    return delete_these(conn, [event_id for event_id, _ in rows]), rows[-1][1] if rows else after


def delete_these(conn: Connection, event_ids: Sequence[int]) -> int:
    """Delete events with all that hangs on them; how many."""
    conn.execute("DELETE FROM tasks WHERE event_id = ANY(%s)", (list(event_ids),))
    return conn.execute("DELETE FROM events WHERE id = ANY(%s)", (list(event_ids),)).rowcount


def unread_bodies(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """Event id and compressed body of what could not be read, and so is nobody's; in order of the ids."""
    return conn.execute(
        """
        SELECT e.id, d.body FROM events e JOIN deliveries d ON d.event_id = e.id AND d.body IS NOT NULL
        WHERE e.company_id = '' AND e.id > %s ORDER BY e.id LIMIT %s
        """,
        (after, limit),
    ).fetchall()


def of_tenants(conn: Connection) -> list[str]:
    """The tables whose rows belong to a tenant, but for those that go with an event."""
    return sorted(set(_tables(conn, "tenant_id")) - {"events", *_tables(conn, "event_id")})


def delete_rows(conn: Connection, table: str, tenant_id: int, *, limit: int) -> int:
    """Delete some rows of the tenant from one of those tables; how many."""
    query = SQL("DELETE FROM {0} WHERE ctid IN (SELECT ctid FROM {0} WHERE tenant_id = %s LIMIT %s)")
    return conn.execute(query.format(Identifier(table)), (tenant_id, limit)).rowcount


def finish(conn: Connection, tenant_id: int) -> None:
    """Delete the tenant itself, if nobody was first. Raises NotErasing when it was not marked."""
    deleted = conn.execute("DELETE FROM tenants WHERE id = %s AND parked_cause = %s", (tenant_id, MARK)).rowcount
    if not deleted and conn.execute("SELECT FROM tenants WHERE id = %s", (tenant_id,)).rowcount:
        raise NotErasing("the tenant is not marked as being erased; nothing more was removed")


def _begin_batch(conn: Connection, company_id: str) -> None:
    """Make sure that it is still to be erased, until the transaction ends; no plan may scan whole tables."""
    conn.execute("SET LOCAL enable_seqscan = off")
    marked = conn.execute("SELECT FROM erased_companies WHERE company_id = %s FOR KEY SHARE", (company_id,))
    if marked.rowcount != 1:
        raise NotErasing(f"{company_id} was given to a tenant meanwhile; what is left of it stays")


def _bury(conn: Connection, company_id: str) -> None:
    conn.execute("INSERT INTO erased_companies (company_id) VALUES (%s) ON CONFLICT DO NOTHING", (company_id,))


def _tables(conn: Connection, column: str) -> list[str]:
    rows = conn.execute(
        """
        SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE a.attname = %s AND NOT a.attisdropped AND c.relkind = 'r'
          AND c.relnamespace = current_schema()::regnamespace ORDER BY 1
        """,
        (column,),
    )
    return [str(name) for (name,) in rows]


def _one(conn: Connection, query: SQL | Composed, value: object) -> int:
    row = conn.execute(query, (value,)).fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True, kw_only=True)
class ErasedCompany:
    """A company whose data was erased. While deliveries are `dropped`, its app in Front still sends them."""

    company_id: str
    erased_at: datetime
    dropped: int
    last_dropped_at: datetime | None


def erased_among(conn: Connection, company_ids: Iterable[str]) -> set[str]:
    """Those of the companies whose data was erased."""
    rows = conn.execute("SELECT company_id FROM erased_companies WHERE company_id = ANY(%s)", (list(company_ids),))
    return {company_id for (company_id,) in rows}


def note_dropped(conn: Connection, deliveries: Mapping[str, int]) -> None:
    """Count the deliveries that were dropped, by company."""
    conn.execute(
        """
        UPDATE erased_companies e SET dropped = e.dropped + d.dropped, last_dropped_at = now()
        FROM unnest(%s::text[], %s::bigint[]) AS d(company_id, dropped) WHERE e.company_id = d.company_id
        """,
        (list(deliveries), list(deliveries.values())),
    )


def still_sending(conn: Connection) -> list[ErasedCompany]:
    """The erased companies of which deliveries had to be dropped, the latest first."""
    with conn.cursor(row_factory=class_row(ErasedCompany)) as cursor:
        return cursor.execute(
            "SELECT company_id, erased_at, dropped, last_dropped_at FROM erased_companies WHERE dropped > 0"
            " ORDER BY last_dropped_at DESC"
        ).fetchall()
