"""Facts that only monitoring asks for: failures of a new kind, silent tenants, and the figures of busy tenants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

#: A group of failures is new for so long after its first failure, or after the first one since it was called fixed.
NEW_MINUTES = 10
#: A tenant is busy at an hour in which it got so many deliveries a week ago, and on average of the last seven days.
BUSY_DELIVERIES = 20
#: The figures of a tenant cover so many whole minutes.
TENANT_MINUTES = 5


@dataclass(frozen=True, kw_only=True)
class Unusual:
    """Groups of failures that are open and new, what waits of notifications, and when the last backup was made.

    `oldest_unpublished_at`: when the oldest came that is not in the feed yet. `oldest_unsent_at`: when the oldest fell
    due of those for open endpoints. `held_endpoints` are those that no person held; `held_since` is of the first.
    """

    new_failure_groups: int
    oldest_unpublished_at: datetime | None
    oldest_unsent_at: datetime | None
    held_since: datetime | None
    held_endpoints: int
    last_backup_at: datetime | None


def unusual(conn: Connection) -> Unusual:
    """Count what is new, and look for what waits. It costs probes of small tables, and one for each endpoint."""
    with conn.cursor(row_factory=class_row(Unusual)) as cursor:
        row = cursor.execute(
            """
            SELECT
                (SELECT count(*) FROM failure_groups WHERE state = 'open'
                 AND coalesce(regressed_at, first_seen) > now() - make_interval(mins => %s)) AS new_failure_groups,
                (SELECT at FROM outbox ORDER BY id LIMIT 1) AS oldest_unpublished_at,
                (SELECT max(made_at) FROM backups) AS last_backup_at,
                (SELECT min(k.due_at) FROM endpoints e CROSS JOIN LATERAL (
                    SELECT due_at FROM tasks WHERE endpoint_id = e.id AND state = 'ready' AND kind = 'notify'
                    ORDER BY due_at LIMIT 1) k
                 WHERE e.state = 'open' AND k.due_at <= now()) AS oldest_unsent_at,
                held.since AS held_since, held.endpoints AS held_endpoints
            FROM (SELECT min(held_at) AS since, count(*) AS endpoints FROM endpoints
                  WHERE state = 'held' AND held_cause <> 'person') held
            """,
            (NEW_MINUTES,),
        ).fetchone()
    assert row is not None  # noqa: S101 -- a statement without a table gives one row
    return row


def silent_tenants(conn: Connection) -> list[str]:
    """Return the names of the tenants that got no delivery in the last hour, although they are busy at this time.

    Tenants that somebody paused, or that are being erased, are left out. So are tenants of less than a week.
    """
    rows = conn.execute(
        """
        SELECT t.name FROM tenants t
        CROSS JOIN LATERAL (
            SELECT sum(received) AS received, sum(received) FILTER (WHERE day = 7) AS a_week_ago
            FROM generate_series(1, 7) AS day CROSS JOIN LATERAL (
                SELECT coalesce(sum(received), 0) AS received FROM minute_figures f
                WHERE f.tenant_id = t.id AND f.minute > now() - make_interval(days => day, hours => 1)
                  AND f.minute <= now() - make_interval(days => day)) one_day
        ) usual
        WHERE coalesce(t.parked_cause, '') NOT IN ('paused', 'erasing')
          AND NOT EXISTS (SELECT FROM minute_figures f WHERE f.tenant_id = t.id
                          AND f.minute > now() - interval '1 hour' AND f.received > 0)
          AND usual.a_week_ago >= %(busy)s AND usual.received >= 7 * %(busy)s
        ORDER BY t.name
        """,
        {"busy": BUSY_DELIVERIES},
    )
    return [name for (name,) in rows]


@dataclass(frozen=True, kw_only=True)
class TenantFigures:
    """The figures of a tenant in the last TENANT_MINUTES whole minutes.

    `oldest_due_at` is when the first of its tasks that could run fell due, also while the tenant is parked;
    notifications do not count, since they wait for their endpoint.
    """

    tenant: str
    received: int
    done: int
    failed: int
    calls: int
    calls_refused: int
    is_parked: bool
    oldest_due_at: datetime | None


def busy_tenants(conn: Connection, *, limit: int) -> list[TenantFigures]:
    """Return the figures of the tenants with the most deliveries and calls in the last hour, the busiest first."""
    with conn.cursor(row_factory=class_row(TenantFigures)) as cursor:
        return cursor.execute(
            """
            WITH busy AS (
                SELECT tenant_id, sum(received + calls) AS work FROM minute_figures
                WHERE minute > now() - interval '1 hour' AND tenant_id IS NOT NULL
                GROUP BY tenant_id ORDER BY work DESC, tenant_id LIMIT %(limit)s
            )
            SELECT t.name AS tenant, f.received, f.done, f.failed, f.calls, f.calls_refused,
                t.parked_cause IS NOT NULL AS is_parked, least(files.due_at, others.due_at) AS oldest_due_at
            FROM busy JOIN tenants t ON t.id = busy.tenant_id
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(received), 0)::bigint AS received, coalesce(sum(done), 0)::bigint AS done,
                    coalesce(sum(failed), 0)::bigint AS failed, coalesce(sum(calls), 0)::bigint AS calls,
                    coalesce(sum(calls_refused), 0)::bigint AS calls_refused
                FROM minute_figures WHERE tenant_id = t.id AND minute < date_trunc('minute', now(), 'UTC')
                  AND minute >= date_trunc('minute', now(), 'UTC') - make_interval(mins => %(minutes)s)) f
            CROSS JOIN LATERAL (
                SELECT min(due_at) AS due_at FROM tasks WHERE tenant_id = t.id AND state = 'ready'
                  AND kind = 'store_attachment' AND due_at <= now()) files
            CROSS JOIN LATERAL (
                SELECT min(due_at) AS due_at FROM tasks WHERE tenant_id = t.id AND state = 'ready'
                  AND kind NOT IN ('store_attachment', 'notify') AND due_at <= now()) others
            ORDER BY busy.work DESC, t.id
            """,
            {"limit": limit, "minutes": TENANT_MINUTES},
        ).fetchall()
