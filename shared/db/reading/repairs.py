"""Repairs as people see them, and the tenants that can be repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg.rows import class_row
from psycopg.sql import SQL

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


@dataclass(frozen=True, kw_only=True)
class RepairView:
    """A repair; `hours` maps each hour to [events on Front's list, missing events]."""

    id: int
    tenant: str
    requested_by: str | None
    dry_run: bool
    state: str
    since: datetime | None
    until: datetime | None
    position: datetime | None
    pages: int
    seen: int
    known: int
    missing: int
    fed: int
    hours: dict[str, list[int]]
    code: str | None
    detail: str | None
    parked: str | None
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class RepairableTenant:
    """A connected tenant; while it is parked its repair waits."""

    id: int
    name: str
    parked: str | None


_REPAIRS = SQL("""
SELECT r.id, t.name AS tenant, r.requested_by, r.dry_run, r.state, coalesce(r.since, r.asked_since) AS since, r.until,
       r.position, r.pages, r.seen, r.known, r.missing, r.fed, r.hours,
       r.code, r.detail, t.parked_cause AS parked, r.created_at, r.settled_at
FROM repairs r JOIN tenants t ON t.id = r.tenant_id
""")


def repairs_by_id(conn: Connection, repair_ids: Sequence[int], *, tenant_id: int | None = None) -> list[RepairView]:
    """Return the repairs with these ids, sorted by tenant; only those of one tenant, if it is named."""
    query = _REPAIRS + SQL("""
        WHERE r.id = ANY(%(ids)s) AND (%(tenant)s::bigint IS NULL OR r.tenant_id = %(tenant)s) ORDER BY t.name, r.id
    """)
    with conn.cursor(row_factory=class_row(RepairView)) as cur:
        return cur.execute(query, {"ids": list(repair_ids), "tenant": tenant_id}).fetchall()


def under_way(conn: Connection) -> list[RepairView]:
    """Return the open repairs that a person asked for or that have begun, sorted by tenant."""
    query = _REPAIRS + SQL("""
    WHERE r.state IN ('waiting', 'running') AND (r.requested_by IS NOT NULL OR r.pages > 0) ORDER BY t.name, r.id
    """)
    with conn.cursor(row_factory=class_row(RepairView)) as cur:
        return cur.execute(query).fetchall()


def latest(
    conn: Connection, *, limit: int, tenant_id: int | None = None, before_id: int | None = None
) -> list[RepairView]:
    """Return the latest repairs that are open, failed or found a gap, and those that a person asked for."""
    query = _REPAIRS + SQL("""
        WHERE (r.state IN ('waiting', 'running', 'failed') OR r.missing > 0 OR r.requested_by IS NOT NULL)
          AND (%(tenant)s::bigint IS NULL OR r.tenant_id = %(tenant)s)
          AND (%(before)s::bigint IS NULL OR r.id < %(before)s)
        ORDER BY r.id DESC LIMIT %(limit)s
    """)
    with conn.cursor(row_factory=class_row(RepairView)) as cursor:
        return cursor.execute(query, {"tenant": tenant_id, "before": before_id, "limit": limit}).fetchall()


def last_gap(conn: Connection) -> RepairView | None:
    """Return the latest repair that found missing events."""
    with conn.cursor(row_factory=class_row(RepairView)) as cur:
        return cur.execute(_REPAIRS + SQL("WHERE r.missing > 0 ORDER BY r.id DESC LIMIT 1")).fetchone()


def unresolved_failures(conn: Connection) -> list[RepairView]:
    """Return each tenant's last finished repair where that one failed, sorted by tenant."""
    query = _REPAIRS + SQL("""
    WHERE r.state = 'failed' AND r.id = (SELECT max(id) FROM repairs n WHERE n.tenant_id = r.tenant_id
                                         AND n.state IN ('done', 'failed'))
    ORDER BY t.name
    """)
    with conn.cursor(row_factory=class_row(RepairView)) as cur:
        return cur.execute(query).fetchall()


def repairable_tenants(conn: Connection, tenant_id: int | None) -> list[RepairableTenant]:
    """Return all connected tenants, or only this one if it is connected."""
    with conn.cursor(row_factory=class_row(RepairableTenant)) as cur:
        return cur.execute(
            """
            SELECT t.id, t.name, t.parked_cause AS parked FROM tenants t JOIN connections c ON c.tenant_id = t.id
            WHERE t.connected_at IS NOT NULL AND t.company_id IS NOT NULL AND t.id = coalesce(%s, t.id) ORDER BY t.name
            """,
            (tenant_id,),
        ).fetchall()
