"""Counts what waits, runs and is done, and who is running."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row

from shared.db.reading.filters import SHOWN_TASK_STATE
from shared.models import TASK_STATES

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


ALIVE_SECONDS = 60  # a process says that it lives far more often


@dataclass(frozen=True, kw_only=True)
class EventCount:
    """How many events are in a state for a cause."""

    state: str
    cause: str | None
    count: int


@dataclass(frozen=True, kw_only=True)
class Spool:
    """Deliveries that PostgreSQL keeps for the recorder because Redis was away."""

    count: int
    oldest_age_seconds: float


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that was heard of within the last minute."""

    name: str
    kind: str
    slots: int
    started_at: datetime
    seen_at: datetime


def count_events(conn: Connection) -> list[EventCount]:
    """The events by state and cause."""
    with conn.cursor(row_factory=class_row(EventCount)) as cursor:
        return cursor.execute(
            "SELECT state, cause, count(*) AS count FROM shown_events GROUP BY state, cause ORDER BY count(*) DESC"
        ).fetchall()


def count_tasks(conn: Connection) -> dict[str, int]:
    """The tasks by state, every state named; those that wait for their tenant count as parked."""
    query = sql.SQL("SELECT {}, count(*) FROM tasks k LEFT JOIN tenants t ON t.id = k.tenant_id GROUP BY 1")
    rows = conn.execute(query.format(sql.SQL(SHOWN_TASK_STATE)))
    return dict.fromkeys(TASK_STATES, 0) | dict(rows.fetchall())


def spool(conn: Connection) -> Spool:
    """What waits in PostgreSQL to be recorded."""
    with conn.cursor(row_factory=class_row(Spool)) as cursor:
        row = cursor.execute(
            "SELECT count(*) AS count, "
            "coalesce(extract(epoch FROM now() - min(received_at)), 0)::float AS oldest_age_seconds "
            "FROM spooled_deliveries"
        ).fetchone()
    return row or Spool(count=0, oldest_age_seconds=0.0)


def dry_runs(conn: Connection) -> list[str]:
    """The names of the tenants whose policy is only tried."""
    return [name for (name,) in conn.execute("SELECT name FROM tenants WHERE dry_run ORDER BY name")]


def counter(conn: Connection, name: str) -> int:
    """The value of a counter; 0 where nothing was counted yet."""
    row = conn.execute("SELECT value FROM counters WHERE name = %s", (name,)).fetchone()
    return int(row[0]) if row else 0


def counters(conn: Connection, prefix: str) -> dict[str, int]:
    """The counters whose name begins so, by the rest of it."""
    rows = conn.execute(
        "SELECT substr(name, %s), value FROM counters WHERE starts_with(name, %s) ORDER BY name",
        (len(prefix) + 1, prefix),
    )
    return dict(rows.fetchall())


def alive(conn: Connection) -> list[Process]:
    """The processes that run."""
    with conn.cursor(row_factory=class_row(Process)) as cursor:
        return cursor.execute(
            "SELECT name, kind, slots, started_at, seen_at FROM processes "
            "WHERE seen_at > now() - make_interval(secs => %s) ORDER BY kind, name",
            (ALIVE_SECONDS,),
        ).fetchall()


@dataclass(frozen=True, kw_only=True)
class Parked:
    """All that waits for one cause. `companies` counts tenants too, also those that nothing waits for.

    `oldest_at`: when the first event came of an unknown company, else when the first tenant was parked.
    """

    cause: str
    events: int
    tasks: int
    companies: int
    oldest_at: datetime


PARKED = """
    SELECT 'unknown_company' AS cause, count(*) AS events, 0 AS tasks, count(DISTINCT company_id) AS companies,
        min(received_at) AS oldest_at
    FROM events WHERE state = 'parked' AND tenant_id IS NULL HAVING count(*) > 0
    UNION ALL
    (SELECT t.parked_cause, coalesce(sum(e.count), 0)::bigint, coalesce(sum(k.count), 0)::bigint, count(*),
        coalesce(min(t.parked_at), min(t.created_at))
    FROM tenants t
    LEFT JOIN (SELECT tenant_id, count(*) FROM events WHERE state = 'processing' GROUP BY 1) e ON e.tenant_id = t.id
    LEFT JOIN (SELECT tenant_id, count(*) FROM tasks WHERE state IN ('ready', 'queued') GROUP BY 1) k
        ON k.tenant_id = t.id
    WHERE t.parked_cause IS NOT NULL GROUP BY t.parked_cause ORDER BY 2 DESC, 1)
"""
WAITING = """
    SELECT t.name, count(*) FROM tenants t JOIN tasks k ON k.tenant_id = t.id AND k.state IN ('ready', 'queued')
    WHERE t.parked_cause IS NOT NULL GROUP BY t.name
"""


def parked(conn: Connection) -> list[Parked]:
    """What is parked, by cause."""
    with conn.cursor(row_factory=class_row(Parked)) as cursor:
        return cursor.execute(PARKED).fetchall()


def waiting_tasks(conn: Connection) -> dict[str, int]:
    """How many tasks wait for each parked tenant, by its name; those without any are left out."""
    return dict(conn.execute(WAITING).fetchall())
