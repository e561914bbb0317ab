"""The figures of `mailroom status`: how much waits, runs and is parked, and which processes run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

from psycopg import sql
from psycopg.rows import class_row

from shared.models import MOST_COUNTED, TASK_STATES

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


SILENT_SECONDS = 15  # nearly four heartbeats that did not come
FORGOTTEN_SECONDS = 3600  # the sweeper deletes the rows of such processes

# Each kind of work is counted by its own partial index, and only up to MOST_COUNTED + 1 rows. So a page or a command
# costs the same however much waits. Files and other work that is due have an index each.
_DUE = (
    "k.state = 'ready' AND k.kind = 'store_attachment'",
    "k.state = 'ready' AND k.kind NOT IN ('store_attachment', 'notify')",
)
_QUEUED = "k.state IN ('queued', 'running') AND k.state = 'queued'"
_WAITING = " UNION ALL ".join(
    f"SELECT k.event_id FROM tasks k WHERE k.tenant_id = t.id AND {condition}"  # noqa: S608 -- text of ours
    for condition in (*_DUE, _QUEUED)
)
_PARKED_TENANTS = f"""
    SELECT t.id, t.name, t.parked_cause, coalesce(t.parked_at, t.created_at) AS parked_at, w.tasks, w.events
    FROM tenants t CROSS JOIN LATERAL (
        SELECT count(*) AS tasks, count(DISTINCT e.id) AS events
        FROM (SELECT * FROM ({_WAITING}) each_kind LIMIT {MOST_COUNTED + 1}) k
        LEFT JOIN events e ON e.id = k.event_id AND e.state = 'processing'
    ) w
    WHERE t.parked_cause IS NOT NULL
"""  # noqa: S608 -- text of ours
_UNKNOWN_COMPANIES = """
    WITH RECURSIVE companies(company_id) AS (
        (SELECT company_id FROM events WHERE state = 'parked' AND tenant_id IS NULL ORDER BY company_id LIMIT 1)
        UNION ALL
        SELECT (SELECT e.company_id FROM events e WHERE e.state = 'parked' AND e.tenant_id IS NULL
                AND e.company_id > c.company_id ORDER BY e.company_id LIMIT 1)
        FROM companies c WHERE c.company_id IS NOT NULL
    ), known AS (SELECT company_id FROM companies WHERE company_id IS NOT NULL LIMIT %(companies)s)
"""
PARKED_TENANTS = f"""
    SELECT parked_cause AS cause, least(sum(events), {MOST_COUNTED + 1})::bigint AS events,
        least(sum(tasks), {MOST_COUNTED + 1})::bigint AS tasks, count(*) AS companies, min(parked_at) AS oldest_at,
        array_agg(name ORDER BY name) AS tenants
    FROM ({_PARKED_TENANTS}) parked GROUP BY parked_cause ORDER BY 2 DESC, 1
"""  # noqa: S608 -- text of ours
UNCLAIMED = f"""
    {_UNKNOWN_COMPANIES}
    SELECT 'unknown_company' AS cause, u.events, 0 AS tasks, (SELECT count(*) FROM known) AS companies, u.oldest_at,
        ARRAY[]::text[] AS tenants
    FROM (SELECT count(*) AS events, min(received_at) AS oldest_at FROM (
        SELECT received_at FROM events WHERE state = 'parked' AND tenant_id IS NULL ORDER BY id LIMIT {MOST_COUNTED + 1}
    ) oldest) u WHERE u.events > 0
"""  # noqa: S608 -- text of ours
UNKNOWN = f"""
    {_UNKNOWN_COMPANIES}
    SELECT k.company_id, e.events, e.oldest_at FROM known k CROSS JOIN LATERAL (
        SELECT count(*) AS events, min(received_at) AS oldest_at FROM (
            SELECT received_at FROM events WHERE state = 'parked' AND tenant_id IS NULL AND company_id = k.company_id
            ORDER BY id LIMIT {MOST_COUNTED + 1}) oldest
    ) e ORDER BY 2 DESC, 1 LIMIT %(limit)s
"""  # noqa: S608 -- text of ours
#: Of unknown companies; beyond that they are too many to look at.
MOST_COMPANIES = 1_000
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
    """A process, and its last heartbeat. Its name is `kind@host:pid`; `metrics_port` is None without one."""

    name: str
    kind: str
    slots: int
    connections: int
    started_at: datetime
    seen_at: datetime
    version: str = ""
    metrics_port: int | None = None

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
    """Count the events by state, each up to one more than MOST_COUNTED. Those in work of parked tenants are parked."""
    processing = (
        "state = 'processing' AND tenant_id <> ALL(ARRAY(SELECT id FROM tenants WHERE parked_cause IS NOT NULL))"
    )
    counts = {
        "processing": _count(conn, "events", processing),
        "parked": min(sum(each.events for each in parked_work(conn)), MOST_COUNTED + 1),
        **{state: _count(conn, "events", f"state = '{state}'") for state in ("failed", "done", "ignored")},
    }
    return [EventCount(state=state, cause=None, count=count) for state, count in counts.items() if count]


def count_tasks(conn: Connection) -> dict[str, int]:
    """Count the tasks by state, each up to one more than MOST_COUNTED, with every state as a key.

    Tasks of parked tenants count as parked.
    """
    working = "tenant_id <> ALL(ARRAY(SELECT id FROM tenants WHERE parked_cause IS NOT NULL))"
    notifications = "state = 'ready' AND kind = 'notify'"
    ready = _count(conn, "tasks", notifications)
    ready += sum(_count(conn, "tasks", f"{due.replace('k.', '')} AND {working}") for due in _DUE)
    counts = {
        "ready": min(ready, MOST_COUNTED + 1),
        "queued": _count(conn, "tasks", f"{_QUEUED.replace('k.', '')} AND {working}"),
        "running": _count(conn, "tasks", "state IN ('queued', 'running') AND state = 'running'"),
        "parked": min(sum(each.tasks for each in parked_work(conn)), MOST_COUNTED + 1),
    }
    for state in TASK_STATES:
        if state not in counts:
            counts[state] = _count(conn, "tasks", f"state = '{state}'")
    return {state: counts[state] for state in TASK_STATES}


def count_failed(conn: Connection) -> int:
    """Count the failed tasks, up to one more than MOST_COUNTED."""
    return _count(conn, "tasks", "state = 'failed'")


def _count(conn: Connection, table: str, condition: str) -> int:
    query = f"SELECT count(*) FROM (SELECT FROM {table} WHERE {condition} LIMIT {MOST_COUNTED + 1}) counted"  # noqa: S608
    row = conn.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0


def spool_status(conn: Connection) -> SpoolStatus:
    """Return how much waits in the spool, counted up to one more than MOST_COUNTED."""
    with conn.cursor(row_factory=class_row(SpoolStatus)) as cursor:
        row = cursor.execute(
            f"SELECT (SELECT count(*) FROM (SELECT FROM spooled_deliveries LIMIT {MOST_COUNTED + 1}) s) AS count, "  # noqa: S608
            "coalesce(extract(epoch FROM now() - min(received_at)), 0)::float AS oldest_age_seconds "
            "FROM spooled_deliveries"
        ).fetchone()
    return row or SpoolStatus(count=0, oldest_age_seconds=0.0)


def clock(conn: Connection) -> datetime:
    """Return the time of PostgreSQL's clock, by which all moments are."""
    row = conn.execute("SELECT now()").fetchone()
    assert row is not None  # noqa: S101 -- a statement without a table gives one row
    return cast("datetime", row[0])


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
        "SELECT name, kind, slots, connections, started_at, seen_at, version, metrics_port FROM processes"
        " WHERE {} ORDER BY kind, name"
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
    """Return the parked work by cause, each count up to one more than MOST_COUNTED, companies up to MOST_COMPANIES."""
    with conn.cursor(row_factory=class_row(ParkedWork)) as cursor:
        unclaimed = cursor.execute(UNCLAIMED.encode(), {"companies": MOST_COMPANIES}).fetchall()
        return unclaimed + cursor.execute(PARKED_TENANTS.encode()).fetchall()


@dataclass(frozen=True, kw_only=True)
class UnknownCompany:
    """A company that sends events and has no tenant."""

    company_id: str
    events: int
    oldest_at: datetime


def unknown_companies(conn: Connection, *, limit: int) -> list[UnknownCompany]:
    """Return the companies without a tenant that have parked events, those with most events first."""
    with conn.cursor(row_factory=class_row(UnknownCompany)) as cursor:
        return cursor.execute(UNKNOWN.encode(), {"companies": MOST_COMPANIES, "limit": limit}).fetchall()


@dataclass(frozen=True, kw_only=True)
class ParkedTenant:
    """A tenant whose work waits for a person, with the number of waiting tasks, up to one more than MOST_COUNTED."""

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
            f"""
            SELECT t.id AS tenant_id, t.name AS tenant, t.parked_cause AS cause, t.parked_at,
                (SELECT count(*) FROM (SELECT FROM ({_WAITING}) each_kind LIMIT {MOST_COUNTED + 1}) w) AS tasks
            FROM tenants t WHERE t.parked_cause IS NOT NULL AND t.id > %(after)s
              AND (%(tenant)s::bigint IS NULL OR t.id = %(tenant)s)
            ORDER BY t.id LIMIT %(limit)s
            """.encode(),  # noqa: S608 -- text of ours
            {"after": after_id, "tenant": tenant_id, "limit": limit},
        ).fetchall()


def waiting_tasks(conn: Connection) -> dict[str, int]:
    """Count the waiting tasks of each parked tenant, by its name; tenants without any are left out."""
    rows = conn.execute(f"SELECT name, tasks FROM ({_PARKED_TENANTS}) parked WHERE tasks > 0".encode())  # noqa: S608
    return dict(rows.fetchall())


@dataclass(frozen=True, kw_only=True)
class SmallCounts:
    """Counts of small tables: tenants by `works`, `token_refused` or the cause that parks them, groups of failures by
    state. `token_expires_at`: when the first of all tokens expires.
    """

    tenants: dict[str, int]
    failure_groups: dict[str, int]
    token_expires_at: datetime | None


def small_counts(conn: Connection) -> SmallCounts:
    """Count tenants and groups of failures."""
    with conn.cursor(row_factory=class_row(SmallCounts)) as cursor:
        row = cursor.execute(
            """
            SELECT
                (SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM (
                    SELECT coalesce(t.parked_cause, CASE WHEN c.refused_since IS NULL THEN 'works'
                                                    ELSE 'token_refused' END) AS state, count(*) AS n
                    FROM tenants t LEFT JOIN connections c ON c.tenant_id = t.id GROUP BY 1) by_state) AS tenants,
                (SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM (
                    SELECT state, count(*) AS n FROM failure_groups GROUP BY state) by_state) AS failure_groups,
                (SELECT min(expires_at) FROM connections) AS token_expires_at
            """
        ).fetchone()
    assert row is not None  # noqa: S101 -- a statement without a table gives one row
    return row
