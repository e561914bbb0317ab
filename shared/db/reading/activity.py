"""Reads the present activity: tasks in work, the mail of each tenant and how often it matches, deployments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.db.core.pool import Connection

HOURS = 24
#: The newest events of a tenant in which matches are counted: more would make the page slow.
MATCH_SAMPLE = 200


@dataclass(frozen=True, kw_only=True)
class RunningTask:
    """A task that a worker runs. Nobody else may take it before `lease_until`."""

    task_id: int
    kind: str
    tenant_id: int | None
    tenant: str | None
    worker: str
    started_at: datetime
    lease_until: datetime


def running_tasks(conn: Connection, *, limit: int) -> list[RunningTask]:
    """Return the tasks that run, those first that have run longest."""
    with conn.cursor(row_factory=class_row(RunningTask)) as cursor:
        return cursor.execute(
            """
            SELECT k.id AS task_id, k.kind, k.tenant_id, t.name AS tenant, a.worker, a.started_at, k.lease_until
            FROM tasks k JOIN attempts a ON a.task_id = k.id AND a.epoch = k.lease_epoch
            LEFT JOIN tenants t ON t.id = k.tenant_id
            WHERE k.state IN ('queued', 'running') AND k.state = 'running' ORDER BY a.started_at, k.id LIMIT %s
            """,
            (limit,),
        ).fetchall()


@dataclass(frozen=True, kw_only=True)
class TenantActivity:
    """A tenant's deliveries in each of the last HOURS hours, the oldest first, and when its last event came.

    `token_expires_at` is None for a token that does not expire, and without a connection.
    """

    tenant_id: int
    last_event_at: datetime | None
    token_expires_at: datetime | None
    received: list[int]


def tenant_activity(conn: Connection, tenant_ids: Sequence[int], now: datetime) -> dict[int, TenantActivity]:
    """Return the activity of these tenants by id."""
    since = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    with conn.cursor(row_factory=class_row(TenantActivity)) as cursor:
        rows = cursor.execute(
            """
            SELECT t.id AS tenant_id,
                (SELECT received_at FROM events e WHERE e.tenant_id = t.id ORDER BY received_at DESC LIMIT 1)
                    AS last_event_at,
                (SELECT expires_at FROM connections c WHERE c.tenant_id = t.id) AS token_expires_at,
                (SELECT array_agg(coalesce(f.received, 0) ORDER BY h.hour)
                 FROM generate_series(0, %(last)s) h(hour) LEFT JOIN (
                    SELECT floor(extract(epoch FROM minute - %(since)s::timestamptz) / 3600)::int AS hour,
                           sum(received)::bigint AS received
                    FROM minute_figures WHERE tenant_id = t.id AND minute >= %(since)s GROUP BY 1) f
                 ON f.hour = h.hour) AS received
            FROM tenants t WHERE t.id = ANY(%(tenants)s)
            """,
            {"tenants": list(tenant_ids), "since": since, "last": HOURS - 1},
        ).fetchall()
    return {row.tenant_id: row for row in rows}


@dataclass(frozen=True, kw_only=True)
class MatchRate:
    """Of so many of the newest events with recipients, those in which a recipient is a user."""

    events: int
    matched: int


def match_rate(conn: Connection, tenant_id: int) -> MatchRate:
    """Count the matches in the newest events of a tenant."""
    with conn.cursor(row_factory=class_row(MatchRate)) as cursor:
        row = cursor.execute(
            """
            SELECT count(*) AS events,
                count(*) FILTER (WHERE EXISTS (SELECT FROM json_array_elements(e.recipients) r
                                               WHERE r ->> 2 IS NOT NULL)) AS matched
            FROM (SELECT recipients FROM events WHERE tenant_id = %s ORDER BY received_at DESC LIMIT %s) e
            WHERE json_typeof(e.recipients) = 'array' AND json_array_length(e.recipients) > 0
            """,
            (tenant_id, MATCH_SAMPLE),
        ).fetchone()
    assert row is not None  # noqa: S101 -- an aggregate gives one row
    return row


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The moment when a process first ran with another version than the one before."""

    at: datetime
    version: str


def deployments(conn: Connection, since: datetime, *, limit: int) -> list[Deployment]:
    """Return the latest deployments since then, the newest first."""
    with conn.cursor(row_factory=class_row(Deployment)) as cursor:
        return cursor.execute(
            "SELECT at, version FROM deployments WHERE at >= %s ORDER BY at DESC, id DESC LIMIT %s", (since, limit)
        ).fetchall()
