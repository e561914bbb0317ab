"""Quotas of tenants: how much one may store, and how many events a day it may bring, before its files wait.

Nothing is lost at the end of a quota: events are recorded, matched and announced as ever, and only files stay at Front
until there is room. Actions that wait for them wait as well. The cause stands on the tenant's row, so that its waiting
tasks are not tried in vain, and goes by itself: with the next day, with deleted files, or with a larger quota.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from shared.models import Quota

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

_WATCH = """
    WITH used AS (
        SELECT t.id, t.max_stored_bytes, t.max_events_a_day,
            CASE WHEN t.max_stored_bytes IS NOT NULL THEN (
                SELECT coalesce(sum(size), 0)::bigint FROM (
                    SELECT max(size) AS size FROM attachments a
                    WHERE a.tenant_id = t.id AND a.path IS NOT NULL GROUP BY a.front_id) files) END AS stored,
            CASE WHEN t.max_events_a_day IS NOT NULL THEN (
                SELECT coalesce(sum(recorded), 0)::bigint FROM minute_figures f
                WHERE f.tenant_id = t.id AND f.minute >= date_trunc('day', now(), 'UTC')) END AS events
        FROM tenants t
        WHERE t.max_stored_bytes IS NOT NULL OR t.max_events_a_day IS NOT NULL OR t.files_held IS NOT NULL
    ), judged AS (
        SELECT id, stored, CASE WHEN stored >= max_stored_bytes THEN 'stored_bytes'
                                WHEN events >= max_events_a_day THEN 'events_a_day' END AS held
        FROM used
    )
    UPDATE tenants t SET stored_bytes = j.stored, files_held = j.held,
        files_held_at = CASE WHEN j.held IS NULL THEN NULL WHEN t.files_held = j.held THEN t.files_held_at
                             ELSE now() END
    FROM judged j, tenants old
    WHERE t.id = j.id AND old.id = j.id
      AND (t.stored_bytes IS DISTINCT FROM j.stored OR t.files_held IS DISTINCT FROM j.held)
    RETURNING t.id AS tenant_id, t.name AS tenant, old.files_held AS before, j.held AS quota
"""


@dataclass(frozen=True, kw_only=True)
class QuotaChange:
    """A tenant whose files wait from now on for a `quota`, or, where that is None, wait no more."""

    tenant_id: int
    tenant: str
    before: Quota | None
    quota: Quota | None


@dataclass(frozen=True, kw_only=True)
class HeldTenant:
    """A tenant whose files wait, because it has used up this quota."""

    tenant: str
    quota: Quota
    since: datetime


def watch(conn: Connection) -> list[QuotaChange]:
    """Count what tenants with a quota use, hold their files or release them; return the tenants that changed."""
    with conn.cursor(row_factory=class_row(QuotaChange)) as cursor:
        rows = cursor.execute(_WATCH.encode()).fetchall()
    return [each for each in rows if each.before != each.quota]


def held_tenants(conn: Connection) -> list[HeldTenant]:
    """Return the tenants whose files wait for room in a quota, by name."""
    with conn.cursor(row_factory=class_row(HeldTenant)) as cursor:
        return cursor.execute(
            "SELECT name AS tenant, files_held AS quota, files_held_at AS since FROM tenants"
            " WHERE files_held IS NOT NULL ORDER BY name"
        ).fetchall()
