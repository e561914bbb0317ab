"""Chooses the due tasks that go to the workers next: fair to all tenants, and never more than the workers can take.

Files have their own lane with half of the slots. So a few tenants with large, slow files delay nobody's other work. Nor
does a query read through a backlog of files to find another task, or the reverse.

A round sends live work before all other, from lanes of its own. There it passes a backlog for which Front's budget is
used up. When calls are free again, a tenant's backlog begins with one task: the calls may be enough for no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg.sql import SQL, Composed, Literal

from shared.db.core.locks import try_lock_files
from shared.db.core.pool import Connection
from shared.db.tasks.capacity import FILES, IN_FLIGHT, LIVE, OTHERS, SLOTS, DueWork, worker_load

#: At most this many tasks of a tenant are in flight, so that its backlog never delays another tenant's event.
PER_TENANT = 8
#: At most this many files of a tenant are in flight as well.
FILES_PER_TENANT = 4
#: At most this many live tasks of a tenant are sent besides its backlog, in each lane.
LIVE_PER_TENANT = 4
#: The part of a round's capacity that live work may take ahead of everything else.
LIVE_SHARE = 0.75
#: A task whose message no worker takes is sent again after this, then after twice as long, and so on.
RESEND_SECONDS = 30

_BACKLOGS_LAST, _BY_TURNS = SQL("has_backlog, last_served_at"), SQL("last_served_at")

_FILES = SQL("state = 'ready' AND kind = 'store_attachment'")
_ANY = SQL("(state = 'ready' AND {} OR {})").format(OTHERS, _FILES)  # each part has its index
_PROBE_IS_DUE = SQL("probe_at <= now() AND NOT EXISTS (SELECT FROM outages WHERE what = 'front')")


_IS_DISPATCHABLE = SQL("(tenants.parked_cause IS NULL AND tenants.not_before <= now())")
_BACKLOG_MAY_GO = SQL("(tenants.backlog_not_before <= now())")
# The files of a tenant wait while it has used up a quota.
_HAS_ROOM = SQL("tenants.files_held IS NULL")
# At the limit, the change that ends a mail goes before the file of the next one: files would use its calls.
_FILES_MAY_GO = SQL("""
(tenants.backlog_not_before <= now() AND {}
 AND (coalesce(tenants.at_limit_at, '-infinity') < now() - interval '2 minutes'
      OR NOT EXISTS (SELECT FROM tasks WHERE tenant_id = tenants.id AND state = 'ready' AND {} AND due_at <= now())))
""").format(_HAS_ROOM, OTHERS)
# More of a backlog is sent the longer it goes on without being held back again: one task more each quarter of a second.
_MAY_BE_IN_FLIGHT = SQL("""
CASE WHEN tenants.backlog_not_before > now() - interval '2 seconds'
     THEN floor(1 + 4 * extract(epoch FROM now() - tenants.backlog_not_before)) END
""")


@dataclass(frozen=True, kw_only=True, eq=False)
class Lane:
    """The tasks that compete for the same capacity, the condition on their tenant, and the most of one tenant.

    `index` names an index by its condition, of which `tasks` may be a part. It finds the tenants.
    """

    index: SQL
    tasks: SQL | Composed
    may_go: SQL | Composed
    per_tenant: int
    is_live: bool = False


_OTHERS_LANE = Lane(index=OTHERS, tasks=OTHERS, may_go=_BACKLOG_MAY_GO, per_tenant=PER_TENANT)
_FILES_LANE = Lane(index=FILES, tasks=FILES, may_go=_FILES_MAY_GO, per_tenant=FILES_PER_TENANT)
#: A probe goes besides all files in flight.
_FILES_TO_PROBE = replace(_FILES_LANE, per_tenant=PER_TENANT)


def _live(kind: SQL, tenant: SQL) -> Lane:
    tasks = SQL("{} AND {}").format(LIVE, kind)
    # Tasks that have been due for long are no longer live, but stay in the index.
    has_due = SQL("EXISTS (SELECT FROM tasks WHERE tenant_id = tenants.id AND state = 'ready' AND {})").format(tasks)
    may_go = SQL("({} AND {})").format(tenant, has_due)
    return Lane(index=SQL("is_live"), tasks=tasks, may_go=may_go, per_tenant=LIVE_PER_TENANT, is_live=True)


_LIVE_OTHERS_LANE, _LIVE_FILES_LANE = _live(OTHERS, SQL("true")), _live(FILES, _HAS_ROOM)


def first_due_tasks(name: SQL, lane: SQL) -> Composed:
    """Return a recursive CTE: the first due time of each tenant's ready tasks in this lane, by a loose index scan."""
    return SQL("""
{name}(tenant_id, due_at) AS (
    (SELECT tenant_id, due_at FROM tasks WHERE state = 'ready' AND {lane} AND tenant_id IS NOT NULL
     ORDER BY tenant_id, due_at LIMIT 1)
    UNION ALL
    SELECT next.* FROM {name} CROSS JOIN LATERAL (
        SELECT tenant_id, due_at FROM tasks WHERE state = 'ready' AND {lane} AND tenant_id > {name}.tenant_id
        ORDER BY tenant_id, due_at LIMIT 1) next
)
""").format(name=name, lane=lane)


def _shared_sql(lane: Lane) -> dict[str, SQL | Composed]:
    """Return the SQL that top-ups and rounds share."""
    is_due = SQL("tenant_id = tenants.id AND state = 'ready' AND {} AND due_at <= now()").format(lane.tasks)
    return {
        "index": lane.index,
        # A backlog is served all the time, so this tells nothing about the live work beside it.
        "was_left": SQL("false") if lane.is_live else SQL("waiting.due_at <= last_served_at"),
        "is_dispatchable": SQL("{} AND {}").format(_IS_DISPATCHABLE, lane.may_go),
        "is_due": is_due,
        "has_more": SQL("EXISTS (SELECT FROM tasks WHERE {} OFFSET %(per_tenant)s LIMIT 1)").format(is_due),
        "tenants_capacity": SQL("""
(SELECT greatest(0, least(%(per_tenant)s - count(*) FILTER (WHERE {}), {} - count(*) FILTER (WHERE NOT {})))::bigint
 FROM tasks f WHERE f.tenant_id = tenants.id AND f.kind <> 'notify' AND {})
""").format(lane.tasks, SQL("NULL") if lane.is_live else _MAY_BE_IN_FLIGHT, LIVE, IN_FLIGHT),
        "queue": SQL("""
UPDATE tasks SET state = 'queued', sends = least(sends + 1, 20),
       lease_until = now() + make_interval(secs => %(resend)s * power(2, least(tasks.sends, 6)))
FROM picked WHERE tasks.id = picked.id AND tasks.state = 'ready'
RETURNING tasks.id, tasks.tenant_id, picked.has_backlog
"""),
    }


def _top_up(lane: Lane) -> Composed:
    """Return the query of a top-up: one index scan for each of the listed tenants, as far as capacity is left."""
    return SQL("""
WITH picked AS (
    SELECT due.id, {has_more} AS has_backlog FROM unnest(%(tenants)s::bigint[]) AS listed(tenant_id)
    JOIN tenants ON tenants.id = listed.tenant_id AND {is_dispatchable}
    CROSS JOIN LATERAL (
        SELECT id FROM tasks WHERE {is_due} ORDER BY due_at, id LIMIT {tenants_capacity} FOR UPDATE SKIP LOCKED
    ) due
    LIMIT %(capacity)s
)
{queue}
""").format(**_shared_sql(lane))


def _round(lane: Lane, order: SQL = _BACKLOGS_LAST) -> Composed:
    """Return the query of a round: one task of each tenant with due work, then a second one, and so on.

    Tenants without a backlog come before tenants with one; the tenant that was served longest ago comes first. Turns
    alone would let a single event wait for a task of each tenant with a backlog: seconds with a thousand tenants. No
    more tenants are considered than there is capacity. Locked rows are left for the next round, so that they hold up no
    other tenant.
    """
    return SQL("""
WITH RECURSIVE {first_due}, ready AS (
    SELECT tenants.id, last_served_at, own.capacity, {was_left} OR {has_more} AS has_backlog
    FROM waiting
    JOIN tenants ON tenants.id = waiting.tenant_id AND {is_dispatchable}
    CROSS JOIN LATERAL (SELECT {tenants_capacity} AS capacity OFFSET 0) own
    WHERE waiting.due_at <= now() AND own.capacity > 0
    ORDER BY {order}, tenants.id LIMIT %(capacity)s
), chosen AS (
    SELECT due.id, has_backlog FROM ready AS tenants
    CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY due_at, id) AS rank FROM (
            SELECT id, due_at FROM tasks WHERE {is_due} ORDER BY due_at, id LIMIT tenants.capacity
        ) oldest
    ) due
    ORDER BY due.rank, {order}, tenants.id LIMIT %(capacity)s
), picked AS (
    SELECT tasks.id, has_backlog FROM tasks JOIN chosen USING (id)
    WHERE tasks.state = 'ready' FOR UPDATE OF tasks SKIP LOCKED
)
{queue}
""").format(order=order, first_due=first_due_tasks(SQL("waiting"), lane.index), **_shared_sql(lane))


_HAS_DUE = (
    SQL("""
WITH RECURSIVE {others}, {files}
SELECT EXISTS (SELECT FROM others JOIN tenants ON tenants.id = tenant_id AND {may_go} WHERE due_at <= now())
    OR EXISTS (SELECT FROM files JOIN tenants ON tenants.id = tenant_id AND {may_go} WHERE due_at <= now())
""")
    .format(
        others=first_due_tasks(SQL("others"), OTHERS),
        files=first_due_tasks(SQL("files"), FILES),
        may_go=_IS_DISPATCHABLE,
    )
    .as_bytes()
)
# Rendered once, because psycopg would render them at each execution.
_TOP_UP = {lane: _top_up(lane).as_bytes() for lane in (_OTHERS_LANE, _FILES_LANE)}
_ROUND = {lane: _round(lane).as_bytes() for lane in (_LIVE_OTHERS_LANE, _OTHERS_LANE, _LIVE_FILES_LANE, _FILES_LANE)}
_ONE = {lane: _round(lane, _BY_TURNS).as_bytes() for lane in (_OTHERS_LANE, _FILES_TO_PROBE)}


@dataclass(frozen=True, kw_only=True)
class QueuedTask:
    """A task to be sent. `behind`: after the tasks of tenants without a backlog."""

    id: int
    behind: bool = False


#: SQL for the rows of new tasks that go to the workers at once: `given` has the tenant, `is_due`, and an order.
#: A tenant with a backlog, a cause or no capacity gets none of them queued: its turn comes with a top-up or a round.
SENDABLE = SQL("""
sendable AS MATERIALIZED (
    SELECT tenants.id, {per_tenant} - (SELECT count(*) FROM tasks f WHERE f.tenant_id = tenants.id
                                       AND f.state IN ('queued', 'running')) AS capacity
    FROM tenants WHERE id = ANY(ARRAY(SELECT tenant_id FROM given WHERE is_due))
        AND {is_dispatchable} AND {backlog_may_go}
        AND NOT EXISTS (SELECT FROM tasks WHERE tenant_id = tenants.id AND state = 'ready' AND {others}
                        AND due_at <= now())
), free AS MATERIALIZED (
    SELECT ({slots}) - (SELECT count(*) FROM tasks WHERE state IN ('queued', 'running')) AS capacity
    WHERE NOT EXISTS (SELECT FROM outages WHERE what = 'front')
)
""").format(
    per_tenant=Literal(PER_TENANT),
    is_dispatchable=_IS_DISPATCHABLE,
    backlog_may_go=_BACKLOG_MAY_GO,
    others=OTHERS,
    slots=SLOTS,
)


def queue_for_tenants(conn: Connection, tenant_ids: Sequence[int], due: DueWork) -> list[QueuedTask]:
    """Queue due tasks of these tenants and return them, as far as `due` shows capacity."""
    tenants = list(tenant_ids)
    picked: list[QueuedTask] = []
    if due.others_are_due:
        picked = _queue(conn, _TOP_UP, _OTHERS_LANE, due.capacity_for_top_up, tenants=tenants)
    if due.files_are_due:
        picked += _queue_files(conn, due.waiting, tenants)
    return picked


def has_due(conn: Connection) -> bool:
    """Whether any tenant has a task due that nothing holds back. Needs no transaction."""
    row = conn.execute(_HAS_DUE).fetchone()
    return bool(row and row[0])


def queue_round(conn: Connection, *, waiting: int) -> list[QueuedTask]:
    """Queue due tasks of all tenants by turns and return them; `waiting` is the number of messages nobody has taken."""
    with_files = try_lock_files(conn)  # before counting, as in `_queue_files`
    load = worker_load(conn, waiting)
    picked = _queue_live_first(conn, _LIVE_OTHERS_LANE, _OTHERS_LANE, load.capacity_for_round)
    return picked + (
        _queue_live_first(conn, _LIVE_FILES_LANE, _FILES_LANE, load.capacity_for_files) if with_files else []
    )


def queue_one(conn: Connection, *, files_only: bool) -> int | None:
    """Queue one due task whatever the capacity, and return its id; None when no task is due.

    The tenants take turns, since the cause of one tenant's failures may concern that tenant alone.
    """
    for lane in (_FILES_TO_PROBE,) if files_only else (_OTHERS_LANE, _FILES_TO_PROBE):
        if picked := _queue(conn, _ONE, lane, capacity=1):
            return picked[0].id
    return None


def unqueue(conn: Connection, task_ids: Sequence[int]) -> None:
    """Make tasks ready again that could not be sent. A message that was sent after all does no harm."""
    conn.execute(
        "UPDATE tasks SET state = 'ready', lease_until = NULL, sends = greatest(sends - 1, 0)"
        " WHERE id = ANY(%s) AND state = 'queued'",
        (list(task_ids),),
    )


def queue_probe(conn: Connection, *, every_seconds: float, again_seconds: float) -> list[int]:
    """Queue a task that probes the current outages, if a probe is due; return its id in a list.

    While Front is away no file can be stored either, so one task probes both. When all tenants with work lack a
    permission, a task of theirs probes the outage; else neither would ever end.
    """
    away: dict[str, bool] = dict(conn.execute("SELECT what, probe_at <= now() FROM outages FOR UPDATE").fetchall())
    if not away.get("front", away.get("storage")):
        return []
    files_only = "front" not in away
    task_id = queue_one(conn, files_only=files_only)
    if task_id is not None:
        probes = [task_id]
    else:
        probes = _queue_probes(conn, _probe_query(_FILES if files_only else _ANY, SQL("true")), again_seconds, limit=1)
    if probes:
        conn.execute(
            "UPDATE outages SET probe_task_id = %s, probe_at = now() + make_interval(secs => %s)",
            (probes[0], every_seconds),
        )
    return probes


def queue_scope_probes(conn: Connection, *, again_seconds: float, limit: int = 50) -> list[int]:
    """Queue one task of each tenant whose missing permission may have been added by now; return their ids.

    A task that was refused for the permission is preferred. A task that neither succeeds nor is refused shows nothing:
    another one follows after `again_seconds`.
    """
    return _queue_probes(conn, _probe_query(_ANY, _PROBE_IS_DUE), again_seconds, limit=limit)


def _probe_query(which: SQL | Composed, when: SQL) -> Composed:
    """Return the query of probes: one due task of each tenant that lacks a permission."""
    return SQL("""
WITH picked AS (
    SELECT tenants.id AS tenant_id, due.id FROM tenants CROSS JOIN LATERAL (
        SELECT id FROM tasks WHERE tenant_id = tenants.id AND {which} AND due_at <= now()
        ORDER BY code IS DISTINCT FROM 'missing_scope', due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) due
    WHERE parked_cause = 'missing_scope' AND not_before <= now() AND {when}
    ORDER BY probe_at LIMIT %(limit)s FOR NO KEY UPDATE OF tenants SKIP LOCKED
), probing AS (
    UPDATE tenants SET probe_task_id = picked.id, probe_at = now() + make_interval(secs => %(again)s)
    FROM picked WHERE tenants.id = picked.tenant_id
)
UPDATE tasks SET state = 'queued', lease_until = now() + make_interval(secs => %(resend)s)
FROM picked WHERE tasks.id = picked.id RETURNING tasks.id
""").format(which=which, when=when)


def _queue_probes(conn: Connection, query: Composed, again_seconds: float, *, limit: int) -> list[int]:
    parameters = {"limit": limit, "again": again_seconds, "resend": RESEND_SECONDS}
    return [task_id for (task_id,) in conn.execute(query, parameters)]


def _queue_files(conn: Connection, waiting: int, tenants: list[int]) -> list[QueuedTask]:
    """Queue files, unless another transaction does: two that counted the same capacity would both use it.

    The next round follows soon.
    """
    if not try_lock_files(conn):
        return []
    return _queue(conn, _TOP_UP, _FILES_LANE, worker_load(conn, waiting).capacity_for_files, tenants=tenants)


def _queue_live_first(conn: Connection, live: Lane, all_of_them: Lane, capacity: int) -> list[QueuedTask]:
    """Queue live tasks, but leave a part of the capacity to a backlog, so that it goes on beside steady live work."""
    picked = _queue(conn, _ROUND, live, math.ceil(capacity * LIVE_SHARE))
    return picked + _queue(conn, _ROUND, all_of_them, capacity - len(picked))


def _queue(
    conn: Connection, queries: Mapping[Lane, bytes], lane: Lane, capacity: int, **parameters: list[int]
) -> list[QueuedTask]:
    if capacity <= 0:
        return []
    limits = {"capacity": capacity, "per_tenant": lane.per_tenant, "resend": RESEND_SECONDS}
    rows = conn.execute(queries[lane], {**limits, **parameters}).fetchall()
    if rows:
        conn.execute(
            """
            UPDATE tenants SET last_served_at = now()
            WHERE id IN (SELECT id FROM tenants WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED)
            """,
            ([tenant_id for _, tenant_id, _ in rows],),
        )
    return [QueuedTask(id=task_id, behind=has_backlog) for task_id, _, has_backlog in rows]
