"""The capacity of the workers: how many tasks they run at once, how many they have, and how many more they can take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg.rows import class_row
from psycopg.sql import SQL, Literal

from shared.db.core.pool import Connection

#: The number of slots until a worker has told its own.
ASSUMED_SLOTS = 16

#: The two lanes of dispatching.
OTHERS, FILES = SQL("kind NOT IN ('store_attachment', 'notify')"), SQL("kind = 'store_attachment'")
#: Work that no backlog holds up: of an event that was new when it was recorded, and due for less than a minute.
LIVE = SQL("(is_live AND due_at > now() - interval '1 minute')")
#: A process counts as lost after so long without a heartbeat. A write to Front needs all but the last second of it.
LOST_AFTER_SECONDS = 16.0
ALIVE = SQL("seen_at > now() - make_interval(secs => {})").format(Literal(LOST_AFTER_SECONDS))
LOST = SQL("seen_at <= now() - make_interval(secs => {})").format(Literal(LOST_AFTER_SECONDS))
#: A process that is lost took messages for no longer than this after its last heartbeat.
TOOK_MESSAGES_SECONDS = 6.0
# Sent to the workers or run by one that lives. A task of a lost worker does not count: it would take capacity from
# everybody until it is taken back. The attempt is a scalar subquery, so that it is looked up by key: for a join the
# planner may read all attempts ever made.
IN_FLIGHT = SQL("""
f.state IN ('queued', 'running') AND (f.state = 'queued' OR
    (SELECT worker FROM attempts WHERE task_id = f.id AND epoch = f.lease_epoch)
    IN (SELECT name FROM processes WHERE {alive}))
""").format(alive=ALIVE)

# Without parameters, so that each connection plans it once.
_LOAD = SQL("""
SELECT coalesce((SELECT nullif(sum(slots), 0)::int FROM processes WHERE kind = 'worker' AND {alive}), {assumed})
           AS slots,
       count(*) FILTER (WHERE {others})::int AS others, count(*) FILTER (WHERE {files})::int AS files,
       ARRAY(SELECT what FROM outages) AS outages
FROM tasks f WHERE {in_flight}
""").format(alive=ALIVE, assumed=Literal(ASSUMED_SLOTS), others=OTHERS, files=FILES, in_flight=IN_FLIGHT)
SLOTS = SQL(
    "SELECT coalesce((SELECT nullif(sum(slots), 0)::int FROM processes WHERE kind = 'worker' AND {}), {})"
).format(ALIVE, Literal(ASSUMED_SLOTS))
_SLOTS = SLOTS.as_bytes()
_LOAD_BYTES = _LOAD.as_bytes()
_IS_DUE = SQL(
    "EXISTS (SELECT FROM tasks WHERE tenant_id = ANY(%(tenants)s) AND state = 'ready' AND {} AND due_at <= now())"
)
# Counts the load only where something is due, which is rare.
_LOAD_IF_DUE = (
    SQL("""
SELECT due.others AS others_are_due, due.files AS files_are_due, load.*
FROM (SELECT {others_are_due} AS others, {files_are_due} AS files) due CROSS JOIN LATERAL ({load}) load
WHERE due.others OR due.files
""")
    .format(others_are_due=_IS_DUE.format(OTHERS), files_are_due=_IS_DUE.format(FILES), load=_LOAD)
    .as_bytes()
)


@dataclass(frozen=True, kw_only=True)
class WorkerLoad:
    """The slots of all workers, and how many files and other tasks are in flight: sent to workers or run by them.

    `outages` names the services that are away, and nothing that needs them is sent. `waiting` counts the messages that
    no worker has taken. More than the workers could run at once mean that the workers are away or behind: then nothing
    is sent, since each task would be sent again and again.
    """

    slots: int
    others: int
    files: int
    waiting: int = 0
    outages: Sequence[str] = ()

    @property
    def capacity_for_files(self) -> int:
        """How many more files may be sent: files get half of the slots."""
        return 0 if self.outages else min(self._capacity_for_messages, max(1, self.slots // 2) - self.files)

    @property
    def capacity_for_round(self) -> int:
        """How many other tasks a round may send: with the files in flight, twice the slots."""
        if "front" in self.outages:
            return 0
        return min(self._capacity_for_messages, 2 * self.slots - self.files - self.others)

    @property
    def capacity_for_top_up(self) -> int:
        """How many other tasks a top-up of single tenants may send; the rest is left for rounds of all tenants."""
        return 0 if "front" in self.outages else min(self._capacity_for_messages, self.slots - self.others)

    @property
    def _capacity_for_messages(self) -> int:
        return 2 * self.slots - self.waiting


@dataclass(frozen=True, kw_only=True)
class DueWork(WorkerLoad):
    """The load of the workers when some tenants have tasks due, and of which lane those are."""

    others_are_due: bool
    files_are_due: bool

    @property
    def has_capacity(self) -> bool:
        """Whether any of the due tasks may be sent."""
        return (self.others_are_due and self.capacity_for_top_up > 0) or (
            self.files_are_due and self.capacity_for_files > 0
        )


def worker_load(conn: Connection, waiting: int) -> WorkerLoad:
    """Return the load of the workers, with `waiting` messages that no worker has taken."""
    with conn.cursor(row_factory=class_row(WorkerLoad)) as cur:
        row = cur.execute(_LOAD_BYTES).fetchone()
    assert row is not None  # noqa: S101 -- an aggregate gives one row
    return replace(row, waiting=waiting)


def worker_slots(conn: Connection) -> int:
    """Return how many tasks all workers can run at once. Needs no transaction."""
    row = conn.execute(_SLOTS).fetchone()
    assert row is not None  # noqa: S101 -- a function gives one row
    return int(row[0])


def due_work(conn: Connection, tenant_ids: Sequence[int]) -> DueWork | None:
    """Return the load of the workers if these tenants have tasks due, else None. Needs no transaction."""
    with conn.cursor(row_factory=class_row(DueWork)) as cur:
        return cur.execute(_LOAD_IF_DUE, {"tenants": list(tenant_ids)}).fetchone()


def record_heartbeat(  # noqa: PLR0913 -- the columns of a process
    conn: Connection,
    name: str,
    kind: str,
    slots: int = 0,
    connections: int = 0,
    *,
    version: str = "",
    metrics_port: int | None = None,
) -> None:
    """Record that the process is alive, runs `slots` tasks at once, and has so many connections at most."""
    conn.execute(
        """
        INSERT INTO processes (name, kind, slots, connections, version, metrics_port) VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (name) DO UPDATE SET slots = excluded.slots, connections = excluded.connections,
            version = excluded.version, metrics_port = excluded.metrics_port, seen_at = now(), gone_at = NULL
        """,
        (name, kind, slots, connections, version, metrics_port),
    )


def note_version(conn: Connection, version: str) -> None:
    """Note a deployment if the latest one is of another version. Processes without a version change nothing."""
    conn.execute(
        """
        INSERT INTO deployments (version) SELECT %(version)s WHERE %(version)s <> ''
            AND %(version)s IS DISTINCT FROM (SELECT version FROM deployments ORDER BY id DESC LIMIT 1)
        """,
        {"version": version},
    )


def is_alive(conn: Connection, kind: str, host: str) -> bool:
    """Whether a process of this kind on this host has sent a heartbeat in the last 15 seconds."""
    query = SQL("SELECT EXISTS (SELECT FROM processes WHERE kind = %s AND starts_with(name, %s) AND {})")
    row = conn.execute(query.format(ALIVE), (kind, f"{kind}@{host}:")).fetchone()
    return bool(row and row[0])


def remove_process(conn: Connection, name: str) -> None:
    """Remove a process that stops."""
    conn.execute("DELETE FROM processes WHERE name = %s", (name,))


def process_names(conn: Connection) -> list[str]:
    """Return the names of all processes of which nobody knows that they are gone."""
    return [name for (name,) in conn.execute("SELECT name FROM processes WHERE gone_at IS NULL")]


def give_up_process(conn: Connection, name: str) -> None:
    """Say that a process is gone: it counts as lost from now on, and nobody looks for it."""
    query = SQL("""
        UPDATE processes SET gone_at = now(), seen_at = least(seen_at, now() - make_interval(secs => {}))
        WHERE name = %s
    """)
    conn.execute(query.format(Literal(LOST_AFTER_SECONDS)), (name,))


def remove_stale_processes(conn: Connection) -> None:
    """Remove the processes without a heartbeat for an hour."""
    conn.execute("DELETE FROM processes WHERE seen_at < now() - interval '1 hour'")
