"""Which due tasks go to the workers next: fair over tenants, and never more than they can hold.

Files go in a lane of their own with half of the slots: a few tenants with large, slow files delay nobody's other work,
and a backlog of one kind is never read to find a task of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composed

from shared.db.core.locks import try_lock_files
from shared.db.core.pool import Connection
from shared.db.tasks.capacity import FILES, IN_FLIGHT, OTHERS, Look, busy

#: Of one tenant at most this many tasks are in Celery, so that its backlog is never in front of another's event.
PER_TENANT = 8
#: And this many files besides.
FILES_PER_TENANT = 4
RESEND_SECONDS = 30

_SINGLES_FIRST, _IN_TURN = SQL("has_backlog, last_served_at"), SQL("last_served_at")

_FILES = SQL("state = 'ready' AND kind = 'store_attachment'")
_ANY = SQL("(state = 'ready' AND kind <> 'store_attachment' OR {})").format(_FILES)  # each part has its index
_IN_TIME = SQL("probe_at <= now() AND NOT EXISTS (SELECT FROM outages WHERE what = 'front')")


def _parts(lane: SQL) -> dict[str, SQL | Composed]:
    """What both ways of queueing share."""
    is_due = SQL("tenant_id = tenants.id AND state = 'ready' AND {} AND due_at <= now()").format(lane)
    return {
        "lane": lane,
        "served": SQL("tenants.parked_cause IS NULL AND tenants.not_before <= now()"),
        "is_due": is_due,
        "has_more": SQL("EXISTS (SELECT FROM tasks WHERE {} OFFSET %(per_tenant)s LIMIT 1)").format(is_due),
        "tenants_room": SQL("""
greatest(0, %(per_tenant)s - (SELECT count(*) FROM tasks f WHERE f.tenant_id = tenants.id AND {} AND {}))
""").format(lane, IN_FLIGHT),
        "queue": SQL("""
UPDATE tasks SET state = 'queued', sends = least(sends + 1, 20),
       lease_until = now() + make_interval(secs => %(resend)s * power(2, least(tasks.sends, 6)))
FROM picked WHERE tasks.id = picked.id AND tasks.state = 'ready'
RETURNING tasks.id, tasks.tenant_id, picked.has_backlog
"""),
    }


def _top_up(lane: SQL) -> Composed:
    """Per tenant one index probe; the room left is shared in tenant order of the list."""
    return SQL("""
WITH picked AS (
    SELECT due.id, {has_more} AS has_backlog FROM unnest(%(tenants)s::bigint[]) AS wanted(tenant_id)
    JOIN tenants ON tenants.id = wanted.tenant_id AND {served}
    CROSS JOIN LATERAL (
        SELECT id FROM tasks WHERE {is_due} ORDER BY due_at, id LIMIT {tenants_room} FOR UPDATE SKIP LOCKED
    ) due
    LIMIT %(room)s
)
{queue}
""").format(**_parts(lane))


def _round(lane: SQL, first: SQL = _SINGLES_FIRST) -> Composed:
    """Every tenant with waiting work by a loose scan of the index: those that had nothing waiting when they were served
    last come before those with a backlog, the longest unserved first; one task of each, then the second, and so on.

    With turns alone a single event would wait for one task of everybody who has a backlog: a thousand tenants are
    seconds. Whoever comes after as many tenants as there is room for cannot get any. A row that somebody holds is left
    for the next round: it must not hold up the others.
    """
    return SQL("""
WITH RECURSIVE waiting(tenant_id, due_at) AS (
    (SELECT tenant_id, due_at FROM tasks WHERE state = 'ready' AND {lane} AND tenant_id IS NOT NULL
     ORDER BY tenant_id, due_at LIMIT 1)
    UNION ALL
    SELECT next.* FROM waiting CROSS JOIN LATERAL (
        SELECT tenant_id, due_at FROM tasks WHERE state = 'ready' AND {lane} AND tenant_id > waiting.tenant_id
        ORDER BY tenant_id, due_at LIMIT 1) next
), turns AS (
    SELECT tenants.id, last_served_at, given.room, waiting.due_at <= last_served_at OR {has_more} AS has_backlog
    FROM waiting
    JOIN tenants ON tenants.id = waiting.tenant_id AND {served}
    CROSS JOIN LATERAL (SELECT {tenants_room} AS room OFFSET 0) given
    WHERE waiting.due_at <= now() AND given.room > 0
    ORDER BY {first}, tenants.id LIMIT %(room)s
), chosen AS (
    SELECT due.id, has_backlog FROM turns AS tenants
    CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY due_at, id) AS rank FROM (
            SELECT id, due_at FROM tasks WHERE {is_due} ORDER BY due_at, id LIMIT tenants.room
        ) oldest
    ) due
    ORDER BY due.rank, {first}, tenants.id LIMIT %(room)s
), picked AS (
    SELECT tasks.id, has_backlog FROM tasks JOIN chosen USING (id)
    WHERE tasks.state = 'ready' FOR UPDATE OF tasks SKIP LOCKED
)
{queue}
""").format(first=first, **_parts(lane))


# Rendered once: psycopg would do so at each execution.
_TOP_UP_OTHERS, _TOP_UP_FILES = _top_up(OTHERS).as_bytes(), _top_up(FILES).as_bytes()
_ROUND_OTHERS, _ROUND_FILES = _round(OTHERS).as_bytes(), _round(FILES).as_bytes()
_ONE_OF_OTHERS, _ONE_OF_FILES = _round(OTHERS, _IN_TURN).as_bytes(), _round(FILES, _IN_TURN).as_bytes()


@dataclass(frozen=True, kw_only=True)
class Picked:
    """A task to be sent; `behind` those of tenants without a backlog."""

    id: int
    behind: bool = False


def queue_of_tenants(conn: Connection, tenant_ids: Sequence[int], seen: Look) -> list[Picked]:
    """Queue due tasks of these tenants and return them, as far as there was room when one looked."""
    tenants = list(tenant_ids)
    picked: list[Picked] = []
    if seen.others_are_due:
        picked = _queued(conn, _TOP_UP_OTHERS, PER_TENANT, seen.room_besides_rounds, tenants=tenants)
    if seen.files_are_due:
        picked += _queued_files(conn, seen.waiting, tenants)
    return picked


def queue_round(conn: Connection, *, waiting: int) -> list[Picked]:
    """Queue due tasks of all tenants in fair turns and return them; `waiting` messages were not taken yet."""
    with_files = try_lock_files(conn)  # before counting, as in `_queued_files`
    seen = busy(conn, waiting)
    picked = _queued(conn, _ROUND_OTHERS, PER_TENANT, seen.room_in_rounds)
    return picked + (_queued(conn, _ROUND_FILES, FILES_PER_TENANT, seen.room_for_files) if with_files else [])


def queue_one(conn: Connection, *, files_only: bool) -> int | None:
    """Queue one due task, whatever room there is; of each tenant in turn, since one alone may have trouble of its own.

    Its id, None when none is due.
    """
    for query in (_ONE_OF_FILES,) if files_only else (_ONE_OF_OTHERS, _ONE_OF_FILES):
        if picked := _queued(conn, query, PER_TENANT, room=1):
            return picked[0].id
    return None


def _queued_files(conn: Connection, waiting: int, tenants: list[int]) -> list[Picked]:
    """One at a time: two that counted the same room would give away twice of it. The next round is not far."""
    if not try_lock_files(conn):
        return []
    return _queued(conn, _TOP_UP_FILES, FILES_PER_TENANT, busy(conn, waiting).room_for_files, tenants=tenants)


def _queued(conn: Connection, query: bytes, per_tenant: int, room: int, **parameters: list[int]) -> list[Picked]:
    if room <= 0:
        return []
    limits = {"room": room, "per_tenant": per_tenant, "resend": RESEND_SECONDS}
    rows = conn.execute(query, {**limits, **parameters}).fetchall()
    if rows:
        conn.execute(
            """
            UPDATE tenants SET last_served_at = now()
            WHERE id IN (SELECT id FROM tenants WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED)
            """,
            ([tenant_id for _, tenant_id, _ in rows],),
        )
    return [Picked(id=task_id, behind=has_backlog) for task_id, _, has_backlog in rows]


def unqueue(conn: Connection, task_ids: Sequence[int]) -> None:
    """These could not be sent: any later dispatch may take them. A message that went out after all does no harm."""
    conn.execute(
        "UPDATE tasks SET state = 'ready', lease_until = NULL, sends = greatest(sends - 1, 0)"
        " WHERE id = ANY(%s) AND state = 'queued'",
        (list(task_ids),),
    )


def queue_probe(conn: Connection, *, every_seconds: float, again_seconds: float) -> list[int]:
    """Queue a task that asks whether what is away is back, when it is time to; its id.

    While Front is away no file can be stored either: then the one task asks for both. When all who have work lack a
    permission it is one of theirs, or neither would ever be found out.
    """
    away: dict[str, bool] = dict(conn.execute("SELECT what, probe_at <= now() FROM outages FOR UPDATE").fetchall())
    if not away.get("front", away.get("storage")):
        return []
    files_only = "front" not in away
    task_id = queue_one(conn, files_only=files_only)
    asking = (
        [task_id]
        if task_id is not None
        else _queued_probe(conn, _of_the_lacking(files_only=files_only), again_seconds, 1)
    )
    if asking:
        conn.execute(
            "UPDATE outages SET probe_task_id = %s, probe_at = now() + make_interval(secs => %s)",
            (asking[0], every_seconds),
        )
    return asking


def queue_scope_probes(conn: Connection, *, again_seconds: float, limit: int = 50) -> list[int]:
    """Queue one task of each tenant whose permission may have been added by now, best one that was refused; their ids.

    One that neither goes through nor is refused says nothing: another follows after `again_seconds`.
    """
    return _queued_probe(conn, _one_each(_ANY, _IN_TIME), again_seconds, limit)


def _of_the_lacking(*, files_only: bool) -> Composed:
    return _one_each(_FILES if files_only else _ANY, SQL("true"))


def _one_each(which: SQL | Composed, when: SQL) -> Composed:
    """One due task of each tenant that lacks a permission."""
    return SQL("""
WITH picked AS (
    SELECT tenants.id AS tenant_id, due.id FROM tenants CROSS JOIN LATERAL (
        SELECT id FROM tasks WHERE tenant_id = tenants.id AND {which} AND due_at <= now()
        ORDER BY code IS DISTINCT FROM 'missing_scope', due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) due
    WHERE parked_cause = 'missing_scope' AND not_before <= now() AND {when}
    ORDER BY probe_at LIMIT %(limit)s FOR NO KEY UPDATE OF tenants SKIP LOCKED
), named AS (
    UPDATE tenants SET probe_task_id = picked.id, probe_at = now() + make_interval(secs => %(again)s)
    FROM picked WHERE tenants.id = picked.tenant_id
)
UPDATE tasks SET state = 'queued', lease_until = now() + make_interval(secs => %(resend)s)
FROM picked WHERE tasks.id = picked.id RETURNING tasks.id
""").format(which=which, when=when)


def _queued_probe(conn: Connection, query: Composed, again_seconds: float, limit: int) -> list[int]:
    parameters = {"limit": limit, "again": again_seconds, "resend": RESEND_SECONDS}
    return [task_id for (task_id,) in conn.execute(query, parameters)]
