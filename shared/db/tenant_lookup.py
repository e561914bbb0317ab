"""Finds tenants by our id of them: one, or a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row

from shared.db.tenants import OVERVIEW, TenantOverview

if TYPE_CHECKING:
    from shared.db.pool import Connection

PAGE = """
    WHERE t.id > %(after)s AND (%(only)s::bigint IS NULL OR t.id = %(only)s)
        AND (%(customer)s::text IS NULL OR t.customer = %(customer)s)
    ORDER BY t.id LIMIT %(limit)s
"""


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
