"""Tenants: who they are, what they want done, and what stands against their work."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row

from shared.errors import MailroomError
from shared.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.db.core.pool import Connection


LONGEST_NAME = 200

PAGE = """
    WHERE t.id > %(after)s AND (%(only)s::bigint IS NULL OR t.id = %(only)s)
        AND (%(customer)s::text IS NULL OR t.customer = %(customer)s)
    ORDER BY t.id LIMIT %(limit)s
"""


class TenantTaken(MailroomError):
    """The name or the company already belongs to a tenant."""

    code = "tenant_taken"


@dataclass(frozen=True, kw_only=True)
class TenantOverview:
    """A tenant as people see it; `connection` is the kind of its grant, None where there is none."""

    id: int
    name: str
    company_id: str | None
    customer: str | None
    connected_at: datetime | None
    connection: str | None
    connection_version: int | None
    users: int
    users_with_action: int
    action: str
    only_when_matched: bool
    wait_for: str
    fold_plus: bool
    act_within: timedelta
    only_inboxes: list[str] | None
    dry_run: bool
    parked_cause: str | None
    parked_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class PolicyChange:
    """The parts of a policy to set; None leaves a part as it is, and no inbox at all stands for every inbox."""

    action: str | None = None
    wait_for: str | None = None
    only_when_matched: bool | None = None
    fold_plus: bool | None = None
    act_within: timedelta | None = None
    only_inboxes: Sequence[str] | None = None
    dry_run: bool | None = None


OVERVIEW = """
    SELECT t.id, t.name, t.company_id, t.customer, t.connected_at,
        c.kind AS connection, c.version AS connection_version,
        (SELECT count(*) FROM users u WHERE u.tenant_id = t.id) AS users,
        (SELECT count(*) FROM users u WHERE u.tenant_id = t.id AND u.action IS NOT NULL) AS users_with_action,
        t.action, t.only_when_matched, t.wait_for, t.fold_plus, t.act_within, t.only_inboxes, t.dry_run,
        t.parked_cause, t.parked_at
    FROM tenants t LEFT JOIN connections c ON c.tenant_id = t.id
"""


def add(conn: Connection, name: str, company_id: str | None, *, customer: str | None = None) -> int:
    """Make a tenant, waiting for its connection, and give its id. Raises TenantTaken for a known name or company.

    Without a company it gets that of the admin who connects it; several tenants may be of one `customer`.
    """
    row = conn.execute(
        """
        INSERT INTO tenants (name, company_id, customer, parked_cause, parked_at)
        VALUES (%s, %s, %s, 'needs_reconnect', now())
        ON CONFLICT DO NOTHING RETURNING id
        """,
        (name, company_id, customer),
    ).fetchone()
    if row is None:
        raise TenantTaken(_why_taken(conn, name, company_id))
    return int(row[0])


def every(conn: Connection, *, customer: str | None = None) -> list[TenantOverview]:
    """All tenants by name, or those of one customer."""
    with conn.cursor(row_factory=class_row(TenantOverview)) as cursor:
        query = sql.SQL(OVERVIEW + "WHERE %(customer)s::text IS NULL OR t.customer = %(customer)s ORDER BY t.name")
        return cursor.execute(query, {"customer": customer}).fetchall()


def find(conn: Connection, name: str) -> TenantOverview | None:
    """The tenant with this name, or else with this company id."""
    with conn.cursor(row_factory=class_row(TenantOverview)) as cursor:
        query = sql.SQL(OVERVIEW + "WHERE t.name = %(name)s OR t.company_id = %(name)s ORDER BY t.name <> %(name)s")
        return cursor.execute(query, {"name": clean(name, LONGEST_NAME)}).fetchone()


def set_policy(conn: Connection, tenant_id: int, change: PolicyChange) -> None:
    """Change what is done with this tenant's future events; actions already planned keep their policy."""
    wanted = {f.name: value for f in fields(change) if (value := getattr(change, f.name)) is not None}
    if change.only_inboxes is not None:
        wanted["only_inboxes"] = list(change.only_inboxes) or None
    if wanted:
        assignments = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column), sql.Placeholder(column)) for column in wanted
        )
        query = sql.SQL("UPDATE tenants SET {} WHERE id = {}").format(assignments, sql.Placeholder("id"))
        conn.execute(query, {**wanted, "id": tenant_id})


def pause(conn: Connection, tenant_id: int) -> bool:
    """Hold the tenant's work back; deliveries are still received and recorded. False if it was paused, or is erased."""
    cursor = conn.execute(
        "UPDATE tenants SET parked_cause = 'paused', parked_at = now() "
        "WHERE id = %s AND coalesce(parked_cause, '') NOT IN ('paused', 'erasing')",
        (tenant_id,),
    )
    return cursor.rowcount == 1


def resume(conn: Connection, tenant_id: int) -> bool:
    """Let a paused tenant's work go on, if it is connected. False if it was not paused."""
    cursor = conn.execute(
        """
        UPDATE tenants t SET
            parked_cause = CASE WHEN c.connected THEN NULL ELSE 'needs_reconnect' END,
            parked_at = CASE WHEN c.connected THEN NULL ELSE now() END
        FROM (SELECT EXISTS (SELECT FROM connections WHERE tenant_id = %(id)s) AS connected) c
        WHERE t.id = %(id)s AND t.parked_cause = 'paused'
        """,
        {"id": tenant_id},
    )
    return cursor.rowcount == 1


def without_connection(conn: Connection) -> list[str]:
    """Names of the tenants that nobody connected, but for those that are being erased."""
    rows = conn.execute(
        "SELECT name FROM tenants t WHERE NOT EXISTS (SELECT FROM connections c WHERE c.tenant_id = t.id)"
        " AND parked_cause IS DISTINCT FROM 'erasing' ORDER BY name"
    )
    return [name for (name,) in rows]


def _why_taken(conn: Connection, name: str, company_id: str | None) -> str:
    row = conn.execute("SELECT name FROM tenants WHERE company_id = %s", (company_id,)).fetchone()
    if row is not None:
        return f"{company_id} belongs to the tenant {row[0]!r}; a company has one tenant"
    return f"there is a tenant {name!r} already; `mailroom tenant connect` gives it a new token"


def of_id(conn: Connection, tenant_id: int) -> TenantOverview | None:
    """The tenant with this id."""
    with conn.cursor(row_factory=class_row(TenantOverview)) as cursor:
        return cursor.execute(sql.SQL(OVERVIEW) + sql.SQL("WHERE t.id = %s"), (tenant_id,)).fetchone()


def page(
    conn: Connection, *, after: int, limit: int, only: int | None = None, customer: str | None = None
) -> list[TenantOverview]:
    """The first tenants by id, `after` one of them; `only` this one and those of a `customer`, where given."""
    values = {"after": after, "limit": limit, "only": only, "customer": customer}
    with conn.cursor(row_factory=class_row(TenantOverview)) as cursor:
        return cursor.execute(sql.SQL(OVERVIEW) + sql.SQL(PAGE), values).fetchall()


def hold(conn: Connection, tenant_id: int) -> bool:
    """Keep everybody else from changing the tenant until the transaction ends. False if there is none."""
    row = conn.execute("SELECT FROM tenants WHERE id = %s FOR NO KEY UPDATE", (tenant_id,)).fetchone()
    return row is not None


def keep(conn: Connection, tenant_id: int) -> bool:
    """Keep the tenant from being removed until the transaction ends. False if there is none."""
    return conn.execute("SELECT FROM tenants WHERE id = %s FOR KEY SHARE", (tenant_id,)).fetchone() is not None


def is_name(value: str) -> bool:
    """Whether it does for a tenant's name or a customer's id: something printable of bounded length."""
    return bool(value.strip()) and value.isprintable() and len(value) <= LONGEST_NAME
