"""Erases a tenant and its company: marks them, deletes their rows in bounded transactions, and deletes the tenant last.

After the mark nothing is recorded, dispatched or connected for them. An interrupted erasure may be run again. The names
of the tables come from PostgreSQL's catalogue, so that none is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.sql import SQL, Composed, Identifier

from shared.db.core.locks import lock_for_erasing
from shared.db.core.pool import Connection
from shared.errors import MailroomError

MARK = "erasing"  # the parked_cause of a tenant that is being erased
_COUNT_OF_EVENTS = SQL("SELECT count(*) FROM events e JOIN {} r ON r.event_id = e.id WHERE e.company_id = %s")
_COUNT_OF_TENANT = SQL("SELECT count(*) FROM {} WHERE tenant_id = %s")


class NotErasing(MailroomError):
    """A tenant has the company, or nothing is marked as being erased: nothing more is deleted."""

    code = "not_erasing"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The tenant that is erased, with its company if it has one; or a company without a tenant."""

    tenant_id: int | None
    company_id: str | None


@dataclass(frozen=True, kw_only=True)
class ErasedCompany:
    """A company whose data was erased. While deliveries are `dropped`, its app in Front still sends them."""

    company_id: str
    erased_at: datetime
    dropped: int
    last_dropped_at: datetime | None


def mark_tenant(conn: Connection, tenant_id: int) -> Subject:
    """Stop all work for the tenant and its company, and delete its connection. Raises NotErasing."""
    lock_for_erasing(conn)
    row = conn.execute(
        "UPDATE tenants SET parked_cause = %(mark)s, parked_at = CASE parked_cause WHEN %(mark)s THEN parked_at"
        " ELSE now() END, probe_at = NULL, probe_task_id = NULL WHERE id = %(tenant)s RETURNING company_id",
        {"mark": MARK, "tenant": tenant_id},
    ).fetchone()
    if row is None:
        raise NotErasing("the tenant is gone already")
    conn.execute("DELETE FROM connections WHERE tenant_id = %s", (tenant_id,))
    if row[0] is not None:
        _mark_erased(conn, row[0])
    return Subject(tenant_id=tenant_id, company_id=row[0])


def mark_company(conn: Connection, company_id: str) -> Subject:
    """Record nothing more of a company without a tenant. Raises NotErasing when a tenant has it."""
    lock_for_erasing(conn)
    owner = conn.execute("SELECT name FROM tenants WHERE company_id = %s", (company_id,)).fetchone()
    if owner is not None:
        raise NotErasing(f"{company_id} belongs to the tenant {owner[0]!r}; erase that one by its name")
    _mark_erased(conn, company_id)
    return Subject(tenant_id=None, company_id=company_id)


def count_running_tasks(conn: Connection, tenant_id: int) -> int:
    """Count the tenant's tasks that run under a lease which has not expired."""
    row = conn.execute(
        "SELECT count(*) FROM tasks WHERE tenant_id = %s AND state = 'running' AND lease_until > now()", (tenant_id,)
    ).fetchone()
    return int(row[0]) if row else 0


def is_erased(conn: Connection, tenant_id: int) -> bool:
    """Whether the tenant was erased or is being erased."""
    row = conn.execute(
        "SELECT NOT EXISTS (SELECT FROM tenants WHERE id = %s AND parked_cause IS DISTINCT FROM %s)", (tenant_id, MARK)
    ).fetchone()
    return bool(row and row[0])


def count_rows(conn: Connection, subject: Subject) -> dict[str, int]:
    """Count the rows by table, without those that have none, however long that takes."""
    conn.execute("SET LOCAL statement_timeout = 0")
    counts = {"events": _count(conn, SQL("SELECT count(*) FROM events WHERE company_id = %s"), subject.company_id)}
    for table in tables_with(conn, "event_id"):
        counts[table] = _count(conn, _COUNT_OF_EVENTS.format(Identifier(table)), subject.company_id)
    for table in tenant_tables(conn):
        counts[table] = _count(conn, _COUNT_OF_TENANT.format(Identifier(table)), subject.tenant_id)
    return {table: number for table, number in counts.items() if number}


def delete_events(conn: Connection, company_id: str, *, after: str, limit: int) -> tuple[int, str]:
    """Delete the company's next events after this id of Front's, with all their rows. Raises NotErasing.

    Returns the number of events, 0 when none is left, and the id of the last one. With the id the next call need not
    skip the deleted rows, which would take ever longer. Tasks are deleted first, because workers lock them first too.
    """
    _begin_batch(conn, company_id)
    rows = conn.execute(
        "SELECT id, front_id FROM events WHERE company_id = %s AND front_id > %s ORDER BY front_id LIMIT %s",
        (company_id, after, limit),
    ).fetchall()
    return delete_events_by_id(conn, [event_id for event_id, _ in rows]), rows[-1][1] if rows else after


def delete_events_by_id(conn: Connection, event_ids: Sequence[int]) -> int:
    """Delete events with all their rows; return the number of events."""
    conn.execute("DELETE FROM tasks WHERE event_id = ANY(%s)", (list(event_ids),))
    return conn.execute("DELETE FROM events WHERE id = ANY(%s)", (list(event_ids),)).rowcount


def unread_bodies(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """Return events that belong to no company because they could not be read, as (id, compressed body), by id."""
    return conn.execute(
        """
        SELECT e.id, d.body FROM events e JOIN deliveries d ON d.event_id = e.id AND d.body IS NOT NULL
        WHERE e.company_id = '' AND e.id > %s ORDER BY e.id LIMIT %s
        """,
        (after, limit),
    ).fetchall()


def tenant_tables(conn: Connection) -> list[str]:
    """Return the tables whose rows belong to a tenant, except those whose rows belong to an event."""
    return sorted(set(tables_with(conn, "tenant_id")) - {"events", *tables_with(conn, "event_id")})


def delete_rows(conn: Connection, table: str, tenant_id: int, *, limit: int) -> int:
    """Delete up to `limit` rows of the tenant from one of those tables; return their number."""
    query = SQL("DELETE FROM {0} WHERE ctid IN (SELECT ctid FROM {0} WHERE tenant_id = %s LIMIT %s)")
    return conn.execute(query.format(Identifier(table)), (tenant_id, limit)).rowcount


def delete_tenant(conn: Connection, tenant_id: int) -> None:
    """Delete the tenant itself, unless it was deleted already. Raises NotErasing when it was not marked."""
    conn.execute("DELETE FROM outbox WHERE tenant_id = %s", (tenant_id,))  # short, and without a foreign key
    deleted = conn.execute("DELETE FROM tenants WHERE id = %s AND parked_cause = %s", (tenant_id, MARK)).rowcount
    if not deleted and conn.execute("SELECT FROM tenants WHERE id = %s", (tenant_id,)).rowcount:
        raise NotErasing("the tenant is not marked as being erased; nothing more was removed")


def erased_among(conn: Connection, company_ids: Iterable[str]) -> Callable[[], set[str]]:
    """Ask which of the companies' data was erased; the function that is returned gives the answer."""
    asked = conn.execute("SELECT company_id FROM erased_companies WHERE company_id = ANY(%s)", (list(company_ids),))
    return lambda: {company_id for (company_id,) in asked}


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
    """Return the erased companies with dropped deliveries, the latest first."""
    with conn.cursor(row_factory=class_row(ErasedCompany)) as cursor:
        return cursor.execute(
            "SELECT company_id, erased_at, dropped, last_dropped_at FROM erased_companies WHERE dropped > 0"
            " ORDER BY last_dropped_at DESC"
        ).fetchall()


def _begin_batch(conn: Connection, company_id: str) -> None:
    """Keep the company marked until the transaction ends, and let no plan scan whole tables. Raises NotErasing."""
    conn.execute("SET LOCAL enable_seqscan = off")
    marked = conn.execute("SELECT FROM erased_companies WHERE company_id = %s FOR KEY SHARE", (company_id,))
    if marked.rowcount != 1:
        raise NotErasing(f"{company_id} was given to a tenant meanwhile; what is left of it stays")


def _mark_erased(conn: Connection, company_id: str) -> None:
    conn.execute("INSERT INTO erased_companies (company_id) VALUES (%s) ON CONFLICT DO NOTHING", (company_id,))


def tables_with(conn: Connection, column: str) -> list[str]:
    """Return the tables with this column."""
    rows = conn.execute(
        """
        SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE a.attname = %s AND NOT a.attisdropped AND c.relkind = 'r'
          AND c.relnamespace = current_schema()::regnamespace ORDER BY 1
        """,
        (column,),
    )
    return [str(name) for (name,) in rows]


def _count(conn: Connection, query: SQL | Composed, value: object) -> int:
    row = conn.execute(query, (value,)).fetchone()
    return int(row[0]) if row else 0
