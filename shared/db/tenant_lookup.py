"""Finds tenants by our id of them: one, or a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row

from shared.db.tenants import OVERVIEW, TenantOverview

if TYPE_CHECKING:
    from shared.db.pool import Connection


def of_id(conn: Connection, tenant_id: int) -> TenantOverview | None:
    """The tenant with this id."""
    with conn.cursor(row_factory=class_row(TenantOverview)) as cursor:
        return cursor.execute(sql.SQL(OVERVIEW) + sql.SQL("WHERE t.id = %s"), (tenant_id,)).fetchone()


def page(conn: Connection, *, after: int, limit: int, only: int | None = None) -> list[TenantOverview]:
    """The first tenants by id, `after` one of them; `only` this one if it is among them."""
    query = sql.SQL(OVERVIEW) + sql.SQL(
        "WHERE t.id > %(after)s AND (%(only)s::bigint IS NULL OR t.id = %(only)s) ORDER BY t.id LIMIT %(limit)s"
    )
    with conn.cursor(row_factory=class_row(TenantOverview)) as cursor:
        return cursor.execute(query, {"after": after, "limit": limit, "only": only}).fetchall()


def keep(conn: Connection, tenant_id: int) -> bool:
    """Keep the tenant from being removed until the transaction ends. False if there is none."""
    return conn.execute("SELECT FROM tenants WHERE id = %s FOR KEY SHARE", (tenant_id,)).fetchone() is not None
