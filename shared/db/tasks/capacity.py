"""How much room the workers have for tasks that are due: how many they run at a time, and how many are with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg.rows import class_row
from psycopg.sql import SQL, Literal

from shared.db.core.pool import Connection

#: Until a worker has said how many tasks it runs at a time.
ASSUMED_SLOTS = 16

#: The two lanes.
OTHERS, FILES = SQL("kind <> 'store_attachment'"), SQL("kind = 'store_attachment'")
_ALIVE = SQL("seen_at > now() - interval '15 seconds'")
# With the workers, or on the way to them. What a killed worker ran is not: it waits for its lease to end, and would
# keep everybody's room for as long. The attempt is a scalar of its own, so that it is looked up by key: as a join the
# planner may read all attempts ever made.
IN_FLIGHT = SQL("""
f.state IN ('queued', 'running') AND (f.state = 'queued' OR
    (SELECT worker FROM attempts WHERE task_id = f.id AND epoch = f.lease_epoch)
    IN (SELECT name FROM processes WHERE {alive}))
""").format(alive=_ALIVE)

# Without parameters: it is planned once a connection.
_BUSY = SQL("""
SELECT coalesce((SELECT nullif(sum(slots), 0)::int FROM processes WHERE kind = 'worker' AND {alive}), {assumed})
           AS slots,
       count(*) FILTER (WHERE {others})::int AS others, count(*) FILTER (WHERE {files})::int AS files,
       ARRAY(SELECT what FROM outages) AS away
FROM tasks f WHERE {in_flight}
""").format(alive=_ALIVE, assumed=Literal(ASSUMED_SLOTS), others=OTHERS, files=FILES, in_flight=IN_FLIGHT)
_BUSY_ALONE = _BUSY.as_bytes()
_IS_DUE = SQL(
    "EXISTS (SELECT FROM tasks WHERE tenant_id = ANY(%(tenants)s) AND state = 'ready' AND {} AND due_at <= now())"
)
# How busy all are is counted where something is due, which mostly is not so.
_LOOK = (
    SQL("""
SELECT due.others AS others_are_due, due.files AS files_are_due, busy.*
FROM (SELECT {others_are_due} AS others, {files_are_due} AS files) due CROSS JOIN LATERAL ({busy}) busy
WHERE due.others OR due.files
""")
    .format(others_are_due=_IS_DUE.format(OTHERS), files_are_due=_IS_DUE.format(FILES), busy=_BUSY)
    .as_bytes()
)


@dataclass(frozen=True, kw_only=True)
class Busy:
    """How many tasks the workers seen lately run at a time, and how many are with them or on the way.

    While something is `away` for everybody there is no room for what needs it. While messages are `waiting` that the
    workers could not run at once, they are away or behind: no more are sent, or each would be sent again and again.
    """

    slots: int
    others: int
    files: int
    waiting: int = 0
    away: Sequence[str] = ()

    @property
    def room_for_files(self) -> int:
        """How many files may still go out: they get half of the slots."""
        return 0 if self.away else min(self._room_in_celery, max(1, self.slots // 2) - self.files)

    @property
    def room_in_rounds(self) -> int:
        """How many other tasks a round may send: with the files that are out, twice what the workers run."""
        if "front" in self.away:
            return 0
        return min(self._room_in_celery, 2 * self.slots - self.files - self.others)

    @property
    def room_besides_rounds(self) -> int:
        """How many other tasks a single tenant's top-up may send: the rest stays for whole rounds."""
        return 0 if "front" in self.away else min(self._room_in_celery, self.slots - self.others)

    @property
    def _room_in_celery(self) -> int:
        return 2 * self.slots - self.waiting


def busy(conn: Connection, waiting: int) -> Busy:
    """How busy the workers are, with so many messages that they have not taken yet."""
    with conn.cursor(row_factory=class_row(Busy)) as cur:
        row = cur.execute(_BUSY_ALONE).fetchone()
    assert row is not None  # noqa: S101 -- an aggregate gives one row
    return replace(row, waiting=waiting)


@dataclass(frozen=True, kw_only=True)
class Look(Busy):
    """How busy the workers are while something of some tenants is due."""

    others_are_due: bool
    files_are_due: bool

    @property
    def has_room(self) -> bool:
        """Whether anything of what is due may go out."""
        return (self.others_are_due and self.room_besides_rounds > 0) or (
            self.files_are_due and self.room_for_files > 0
        )


def look(conn: Connection, tenant_ids: Sequence[int]) -> Look | None:
    """How busy the workers are, where something of these tenants is due; else None. Needs no transaction."""
    with conn.cursor(row_factory=class_row(Look)) as cur:
        return cur.execute(_LOOK, {"tenants": list(tenant_ids)}).fetchone()


def beat(conn: Connection, name: str, kind: str, slots: int = 0) -> None:
    """This process is alive and runs `slots` tasks at a time."""
    conn.execute(
        """
        INSERT INTO processes (name, kind, slots) VALUES (%s, %s, %s)
        ON CONFLICT (name) DO UPDATE SET slots = excluded.slots, seen_at = now()
        """,
        (name, kind, slots),
    )


def leave_processes(conn: Connection, name: str) -> None:
    """This process is stopping."""
    conn.execute("DELETE FROM processes WHERE name = %s", (name,))


def forget_processes(conn: Connection) -> None:
    """Drop those not seen for an hour."""
    conn.execute("DELETE FROM processes WHERE seen_at < now() - interval '1 hour'")
