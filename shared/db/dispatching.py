"""Which due tasks go to the workers next: fair over tenants, and never more than they can hold."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.sql import SQL, Composed

from shared.db.pool import Connection

#: In Celery at most this many tasks of one tenant, so that one tenant's backlog is never in front of another's event.
PER_TENANT = 8
#: Until a worker has said how many tasks it runs at a time.
ASSUMED_SLOTS = 16
RESEND_SECONDS = 30

_ALIVE = SQL("seen_at > now() - interval '15 seconds'")
# With the workers, or on the way to them. What a killed worker ran is not: it waits for its lease to end, and would
# keep everybody's room for as long.
_IN_FLIGHT = SQL("""
SELECT count(*) FROM tasks f
WHERE f.state IN ('queued', 'running') AND (f.state = 'queued' OR EXISTS (
    SELECT FROM attempts JOIN processes ON processes.name = attempts.worker
    WHERE attempts.task_id = f.id AND attempts.epoch = f.lease_epoch AND {alive}))
""").format(alive=_ALIVE)
_ROOM_OF_TENANT = SQL("greatest(0, %(per_tenant)s - ({in_flight} AND f.tenant_id = tenants.id))").format(
    in_flight=_IN_FLIGHT
)

_QUEUE = SQL("""
UPDATE tasks SET state = 'queued', sends = least(sends + 1, 20),
       lease_until = now() + make_interval(secs => %(resend)s * power(2, least(tasks.sends, 6)))
FROM picked WHERE tasks.id = picked.id AND tasks.state = 'ready'
RETURNING tasks.id, tasks.tenant_id
""")

# Per tenant one index probe; the room left is shared in tenant order of the list.
_TOP_UP = (
    SQL("""
WITH picked AS (
    SELECT due.id FROM unnest(%(tenants)s::bigint[]) AS wanted(tenant_id)
    JOIN tenants ON tenants.id = wanted.tenant_id AND tenants.parked_cause IS NULL AND tenants.not_before <= now()
    CROSS JOIN LATERAL (
        SELECT id FROM tasks WHERE tenant_id = tenants.id AND state = 'ready' AND due_at <= now()
        ORDER BY due_at, id
        LIMIT {room_of_tenant} FOR UPDATE SKIP LOCKED
    ) due
    LIMIT %(room)s
)
""").format(room_of_tenant=_ROOM_OF_TENANT)
    + _QUEUE
)

# Every tenant with waiting work by a loose scan of the index; one task of each, the longest unserved first, then the
# second of each, and so on. A row that somebody holds is left for the next round: it must not hold up the others.
_ROUND = (
    SQL("""
WITH RECURSIVE waiting(tenant_id) AS (
    (SELECT tenant_id FROM tasks WHERE state = 'ready' AND tenant_id IS NOT NULL ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.tenant_id FROM tasks t WHERE t.state = 'ready' AND t.tenant_id > waiting.tenant_id
            ORDER BY t.tenant_id LIMIT 1)
    FROM waiting WHERE waiting.tenant_id IS NOT NULL
), chosen AS (
    SELECT due.id FROM waiting
    JOIN tenants ON tenants.id = waiting.tenant_id AND tenants.parked_cause IS NULL AND tenants.not_before <= now()
    CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY due_at, id) AS rank FROM (
            SELECT id, due_at FROM tasks WHERE tenant_id = tenants.id AND state = 'ready' AND due_at <= now()
            ORDER BY due_at, id
            LIMIT {room_of_tenant}
        ) oldest
    ) due
    ORDER BY due.rank, tenants.last_served_at, tenants.id
    LIMIT %(room)s
), picked AS (
    SELECT tasks.id FROM tasks JOIN chosen USING (id) WHERE tasks.state = 'ready' FOR UPDATE OF tasks SKIP LOCKED
)
""").format(room_of_tenant=_ROOM_OF_TENANT)
    + _QUEUE
)


def slots(conn: Connection) -> int:
    """How many tasks the workers seen lately run at a time."""
    query = SQL("SELECT sum(slots)::int FROM processes WHERE kind = 'worker' AND {alive}").format(alive=_ALIVE)
    row = conn.execute(query).fetchone()
    return (row[0] if row else None) or ASSUMED_SLOTS


def in_flight(conn: Connection) -> int:
    """How many tasks are with the workers, or on the way to them."""
    row = conn.execute(_IN_FLIGHT).fetchone()
    return row[0] if row else 0


def queue_of_tenants(conn: Connection, tenant_ids: Sequence[int]) -> list[int]:
    """Queue due tasks of these tenants and return their ids; half of the workers' room stays for whole rounds."""
    room = slots(conn) - in_flight(conn)
    return _queued(conn, _TOP_UP, room, tenants=list(tenant_ids)) if room > 0 else []


def queue_round(conn: Connection) -> list[int]:
    """Queue due tasks of all tenants, the longest unserved first, and return their ids."""
    room = 2 * slots(conn) - in_flight(conn)
    return _queued(conn, _ROUND, room) if room > 0 else []


def _queued(conn: Connection, query: Composed, room: int, **parameters: list[int]) -> list[int]:
    limits = {"room": room, "per_tenant": PER_TENANT, "resend": RESEND_SECONDS}
    rows = conn.execute(query, {**limits, **parameters}).fetchall()
    if rows:
        conn.execute(
            """
            UPDATE tenants SET last_served_at = now()
            WHERE id IN (SELECT id FROM tenants WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED)
            """,
            (sorted({tenant for _, tenant in rows}),),
        )
    return [task_id for task_id, _ in rows]


def unqueue(conn: Connection, task_ids: Sequence[int]) -> None:
    """These could not be sent: any later dispatch may take them. A message that went out after all does no harm."""
    conn.execute(
        "UPDATE tasks SET state = 'ready', lease_until = NULL, sends = greatest(sends - 1, 0)"
        " WHERE id = ANY(%s) AND state = 'queued'",
        (list(task_ids),),
    )
