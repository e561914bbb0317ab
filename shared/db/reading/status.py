"""The figures of `mailroom status`: how much waits, runs and is parked, and which processes run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row

from shared.db.reading.filters import SHOWN_TASK_STATE
from shared.models import TASK_STATES

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


SILENT_SECONDS = 15  # nearly four heartbeats that did not come
FORGOTTEN_SECONDS = 3600  # the sweeper deletes the rows of such processes

PARKED = """
    SELECT 'unknown_company' AS cause, count(*) AS events, 0 AS tasks, count(DISTINCT company_id) AS companies,
        min(received_at) AS oldest_at, ARRAY[]::text[] AS tenants
    FROM events WHERE state = 'parked' AND tenant_id IS NULL HAVING count(*) > 0
    UNION ALL
    (SELECT t.parked_cause, coalesce(sum(e.count), 0)::bigint, coalesce(sum(k.count), 0)::bigint, count(*),
        coalesce(min(t.parked_at), min(t.created_at)), array_agg(t.name ORDER BY t.name)
    FROM tenants t
    LEFT JOIN (SELECT tenant_id, count(*) FROM events WHERE state = 'processing' GROUP BY 1) e ON e.tenant_id = t.id
    LEFT JOIN (SELECT tenant_id, count(*) FROM tasks WHERE state IN ('ready', 'queued') GROUP BY 1) k
        ON k.tenant_id = t.id
    WHERE t.parked_cause IS NOT NULL GROUP BY t.parked_cause ORDER BY 2 DESC, 1)
"""
# LEAST passes over nulls. A limit of -1 is none; superusers have none either. Before PostgreSQL 16 there was no setting
# `reserved_connections`.
CONNECTION_USE = """
    SELECT LEAST(
            current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                - coalesce(current_setting('reserved_connections', true)::int, 0),
            (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user AND NOT rolsuper),
            (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()
                AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))
        ) AS allowed,
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND coalesce(application_name, '')
            !~ '^(mailroom |((recorder of|sweeper) )?(recorder|worker|sweeper|console)@)') AS of_others
"""
WAITING_TASKS = """
    SELECT t.name, count(*) FROM tenants t JOIN tasks k ON k.tenant_id = t.id AND k.state IN ('ready', 'queued')
    WHERE t.parked_cause IS NOT NULL GROUP BY t.name
"""


@dataclass(frozen=True, kw_only=True)
class EventCount:
    """The number of events in one state for one cause."""

    state: str
    cause: str | None
    count: int


@dataclass(frozen=True, kw_only=True)
class SpoolStatus:
    """The deliveries that wait in PostgreSQL for the recorder, because Redis was away."""

    count: int
    oldest_age_seconds: float


@dataclass(frozen=True, kw_only=True)
class RunningProcess:
    """A process, and its last heartbeat. Its name is `kind@host:pid`."""

    name: str
    kind: str
    slots: int
    connections: int
    started_at: datetime
    seen_at: datetime

    @property
    def host(self) -> str:
        """The name of its machine or container."""
        return self.name.partition("@")[2].rpartition(":")[0]


@dataclass(frozen=True, kw_only=True)
class ConnectionUse:
    """The connections that PostgreSQL allows our role beside the reserved ones, those in use, and those of others."""

    allowed: int
    used: int
    of_others: int


@dataclass(frozen=True, kw_only=True)
class ParkedWork:
    """All work that waits for one cause. `companies` counts the tenants, also those without waiting work; `tenants` has
    their names.

    `oldest_at`: when the first tenant was parked; for unknown companies, when the first event came.
    """

    cause: str
    events: int
    tasks: int
    companies: int
    oldest_at: datetime
    tenants: list[str]


def count_events(conn: Connection) -> list[EventCount]:
    """Count the events by state and cause."""
    with conn.cursor(row_factory=class_row(EventCount)) as cursor:
        return cursor.execute(
            "SELECT state, cause, count(*) AS count FROM shown_events GROUP BY state, cause ORDER BY count(*) DESC"
        ).fetchall()


def count_tasks(conn: Connection) -> dict[str, int]:
    """Count the tasks by state, with every state as a key. Tasks of parked tenants count as parked."""
    query = sql.SQL("SELECT {}, count(*) FROM tasks k LEFT JOIN tenants t ON t.id = k.tenant_id GROUP BY 1")
    rows = conn.execute(query.format(sql.SQL(SHOWN_TASK_STATE)))
    return dict.fromkeys(TASK_STATES, 0) | dict(rows.fetchall())


def spool_status(conn: Connection) -> SpoolStatus:
    """Return how much waits in the spool."""
    with conn.cursor(row_factory=class_row(SpoolStatus)) as cursor:
        row = cursor.execute(
            "SELECT count(*) AS count, "
            "coalesce(extract(epoch FROM now() - min(received_at)), 0)::float AS oldest_age_seconds "
            "FROM spooled_deliveries"
        ).fetchone()
    return row or SpoolStatus(count=0, oldest_age_seconds=0.0)


def tenants_in_dry_run(conn: Connection) -> list[str]:
    """Return the names of the tenants whose policy runs dry."""
    return [name for (name,) in conn.execute("SELECT name FROM tenants WHERE dry_run ORDER BY name")]


def running_processes(conn: Connection, *, within: float = SILENT_SECONDS) -> list[RunningProcess]:
    """Return the processes with a heartbeat `within` so many seconds."""
    return _processes(conn, sql.SQL("seen_at > now() - make_interval(secs => %s)"), within)


def silent_processes(conn: Connection) -> list[RunningProcess]:
    """Return the processes without a heartbeat lately: frozen, cut off, or killed and not replaced.

    One that ends on purpose deletes its row. One that was killed counts as replaced when another of its kind has
    started on another machine since. On the same machine, the one that starts gives those up that are gone.
    """
    between = sql.SQL(
        "gone_at IS NULL AND seen_at <= now() - make_interval(secs => %s)"
        " AND seen_at > now() - make_interval(secs => %s)"
    )
    silent = _processes(conn, between, SILENT_SECONDS, FORGOTTEN_SECONDS)
    return not_replaced(silent, running_processes(conn, within=SILENT_SECONDS))


def not_replaced(silent: Iterable[RunningProcess], alive: Iterable[RunningProcess]) -> list[RunningProcess]:
    """Return the silent processes that no live one stands in for; each stands in for one at most."""
    free = sorted(alive, key=lambda process: process.started_at)
    missing = []
    for gone in sorted(silent, key=lambda process: process.seen_at, reverse=True):
        replacement = next((each for each in free if _replaces(each, gone)), None)
        if replacement:
            free.remove(replacement)
        else:
            missing.append(gone)
    return sorted(missing, key=lambda process: (process.kind, process.name))


def _replaces(alive: RunningProcess, gone: RunningProcess) -> bool:
    return alive.kind == gone.kind and alive.host != gone.host and alive.started_at > gone.seen_at


def _processes(conn: Connection, condition: sql.SQL, *seconds: float) -> list[RunningProcess]:
    query = sql.SQL(
        "SELECT name, kind, slots, connections, started_at, seen_at FROM processes WHERE {} ORDER BY kind, name"
    )
    with conn.cursor(row_factory=class_row(RunningProcess)) as cursor:
        return cursor.execute(query.format(condition), seconds).fetchall()


def connection_use(conn: Connection) -> ConnectionUse:
    """Return how many connections there may be, and are. A limit of our role or database counts where it is lower."""
    with conn.cursor(row_factory=class_row(ConnectionUse)) as cursor:
        row = cursor.execute(CONNECTION_USE).fetchone()
    assert row is not None  # noqa: S101 -- a statement without a table gives one row
    return row


def parked_work(conn: Connection) -> list[ParkedWork]:
    """Return the parked work by cause."""
    with conn.cursor(row_factory=class_row(ParkedWork)) as cursor:
        return cursor.execute(PARKED).fetchall()


@dataclass(frozen=True, kw_only=True)
class UnknownCompany:
    """A company that sends events and has no tenant."""

    company_id: str
    events: int
    oldest_at: datetime


def unknown_companies(conn: Connection, *, limit: int) -> list[UnknownCompany]:
    """Return the companies without a tenant that have parked events, those with most events first."""
    with conn.cursor(row_factory=class_row(UnknownCompany)) as cursor:
        return cursor.execute(
            "SELECT company_id, count(*) AS events, min(received_at) AS oldest_at FROM events"
            " WHERE state = 'parked' AND tenant_id IS NULL GROUP BY company_id ORDER BY 2 DESC, 1 LIMIT %s",
            (limit,),
        ).fetchall()


@dataclass(frozen=True, kw_only=True)
class ParkedTenant:
    """A tenant whose work waits for a person, with the number of tasks that wait."""

    tenant_id: int
    tenant: str
    cause: str
    parked_at: datetime | None
    tasks: int


def parked_tenants(
    conn: Connection, *, limit: int, after_id: int = 0, tenant_id: int | None = None
) -> list[ParkedTenant]:
    """Return the parked tenants by id; only one of them, if it is named."""
    with conn.cursor(row_factory=class_row(ParkedTenant)) as cursor:
        return cursor.execute(
            """
            SELECT t.id AS tenant_id, t.name AS tenant, t.parked_cause AS cause, t.parked_at,
                (SELECT count(*) FROM tasks k WHERE k.tenant_id = t.id AND k.state IN ('ready', 'queued')) AS tasks
            FROM tenants t WHERE t.parked_cause IS NOT NULL AND t.id > %(after)s
              AND (%(tenant)s::bigint IS NULL OR t.id = %(tenant)s)
            ORDER BY t.id LIMIT %(limit)s
            """,
            {"after": after_id, "tenant": tenant_id, "limit": limit},
        ).fetchall()


def waiting_tasks(conn: Connection) -> dict[str, int]:
    """Count the waiting tasks of each parked tenant, by its name; tenants without any are left out."""
    return dict(conn.execute(WAITING_TASKS).fetchall())
