"""Rescues work for the sweeper: tasks that lost their message or worker, and actions that nothing will release."""

from __future__ import annotations

from dataclasses import dataclass, fields

from psycopg.rows import class_row
from psycopg.sql import SQL, Literal

from shared.db import counters
from shared.db.core.locks import end_role_sessions
from shared.db.core.pool import Connection
from shared.db.host.due_notifications import FIRST_DUE_NOTIFICATIONS, MAY_BE_SENT
from shared.db.tasks import actions, events
from shared.db.tasks.capacity import FILES, LOST, LOST_AFTER_SECONDS, OTHERS, TOOK_MESSAGES_SECONDS
from shared.db.tasks.dispatching import RESEND_SECONDS, first_due_tasks

#: A task whose worker died this often is not tried again: the task itself may kill its workers.
MAX_WORKER_DEATHS = 5
WORKER_LOST = "worker_lost"

_LOST = SQL("tasks.state IN ('queued', 'running') AND tasks.lease_until < now()")
_TOO_OFTEN = SQL("""
(tasks.state = 'running' AND %(deaths)s <= (SELECT count(*) FROM attempts a
                                            WHERE a.task_id = tasks.id AND a.outcome IS NULL))
""")
# A process that sends a heartbeat meanwhile waits for its row, and then looks whether its tasks are still its own. A
# task claimed a moment ago is left alone: its process may just have woken, and not have sent a heartbeat yet.
_END_LEASES = (
    SQL("""
WITH lost AS MATERIALIZED (
    SELECT name, seen_at FROM processes WHERE kind IN ('worker', 'recorder') AND {lost} FOR UPDATE
)
UPDATE tasks SET lease_until = now()
WHERE state IN ('queued', 'running') AND lease_until > now() AND CASE state
    WHEN 'running' THEN (SELECT worker FROM attempts WHERE task_id = tasks.id AND epoch = lease_epoch
                         AND started_at <= now() - make_interval(secs => {after})) IN (SELECT name FROM lost)
    ELSE lease_until - make_interval(secs => {resend} * power(2, least(greatest(sends - 1, 0), 6)))
         <= (SELECT max(seen_at) FROM lost) + make_interval(secs => {took})
    END
""")
    .format(
        lost=LOST,
        after=Literal(LOST_AFTER_SECONDS),
        resend=Literal(RESEND_SECONDS),
        took=Literal(TOOK_MESSAGES_SECONDS),
    )
    .as_bytes()
)
# Each part is an index scan that ends at its first row, save one row a tenant for what is due.
_WAITING_WORK = (
    SQL("""
WITH RECURSIVE {files}, {others}, {notifications}, due AS (
    SELECT min(greatest(first.due_at, tenants.not_before)) AS at
    FROM (SELECT * FROM files UNION ALL SELECT * FROM others) first JOIN tenants ON tenants.id = first.tenant_id
    WHERE tenants.parked_cause IS NULL AND first.due_at < now() + interval '1 minute'
), notify AS (
    SELECT coalesce(bool_or({may_be_sent}), false) AS any,
           min(greatest(notifying.due_at, e.not_before)) FILTER (WHERE e.state = 'open') AS at
    FROM notifying JOIN endpoints e ON e.id = notifying.endpoint_id
), sent AS (
    SELECT count(*) > 0 AS any, bool_or(lease_until < now()) AS any_expired
    FROM tasks WHERE state IN ('queued', 'running')
), away AS (
    SELECT count(*) > 0 AS any, bool_or(what = 'front') AS front FROM outages
)
SELECT sent.any OR (coalesce(due.at <= now(), false) AND away.front IS NOT TRUE) AS dispatch,
       extract(epoch FROM least(
           CASE WHEN due.at > now() AND due.at < now() + interval '1 minute' THEN due.at - now() END,
           CASE WHEN notify.at > now() AND notify.at < now() + interval '1 minute' THEN notify.at - now() END))
           ::float8 AS next_due_seconds,
       coalesce(sent.any_expired, false)
           OR EXISTS (SELECT FROM processes WHERE {lost} AND (sent.any OR seen_at > now() - interval '1 minute'))
           AS take_back,
       EXISTS (SELECT FROM spooled_deliveries) AS record_spooled,
       EXISTS (SELECT FROM outbox) AS number_notifications,
       away.any OR EXISTS (
           SELECT FROM tenants WHERE parked_cause = 'missing_scope' AND probe_at <= now() AND not_before <= now()
           AND (EXISTS (SELECT FROM tasks WHERE {is_due} AND {lane_of_files})
                OR EXISTS (SELECT FROM tasks WHERE {is_due} AND {lane_of_others}))) AS probe,
       EXISTS (SELECT FROM processes WHERE {lost} AND seen_at > now() - interval '1 minute') OR EXISTS (
           SELECT FROM repairs JOIN tenants ON tenants.id = tenant_id
           WHERE state = 'running' AND claimed_until < now()
              OR state = 'waiting' AND due_at <= now() AND coalesce(claimed_until, '-infinity') < now()
                 AND parked_cause IS NULL AND not_before <= now()) AS repair,
       EXISTS (SELECT FROM jobs WHERE state = 'running' AND claimed_until < now()) AS carry_out_jobs,
       notify.any AS notify,
       extract(epoch FROM clock_timestamp())::float8 AS clock
FROM due, notify, sent, away
""")
    .format(
        files=first_due_tasks(SQL("files"), FILES),
        others=first_due_tasks(SQL("others"), OTHERS),
        notifications=SQL(FIRST_DUE_NOTIFICATIONS),
        may_be_sent=SQL(MAY_BE_SENT),
        lane_of_files=FILES,
        lane_of_others=OTHERS,
        is_due=SQL("tenant_id = tenants.id AND state = 'ready' AND due_at <= now()"),
        lost=LOST,
    )
    .as_bytes()
)


@dataclass(frozen=True, kw_only=True)
class WaitingWork:
    """Which of the sweeper's jobs have work, by PostgreSQL's `clock` in seconds.

    `dispatch` is also true while workers have tasks. `next_due_seconds`: until a task is due, if that is soon.
    """

    dispatch: bool
    take_back: bool
    record_spooled: bool
    number_notifications: bool
    probe: bool
    repair: bool
    carry_out_jobs: bool
    notify: bool
    next_due_seconds: float | None
    clock: float

    def jobs(self) -> set[str]:
        """Return the names of the jobs that have work."""
        return {each.name for each in fields(self) if getattr(self, each.name) is True}


@dataclass(frozen=True, kw_only=True)
class LostTask:
    """A task with an expired lease. `was` is its state then: queued (message lost) or running (worker lost)."""

    id: int
    event_id: int | None
    was: str


@dataclass(frozen=True, kw_only=True)
class StrandedActions:
    """Conversations whose waiting actions nothing will release, and the id of the last task that was examined.

    `until` is 0 when no more tasks wait.
    """

    conversations: list[tuple[int, str]]
    until: int


def waiting_work(conn: Connection) -> WaitingWork:
    """Look for the work of the sweeper's jobs, in one statement that is cheap while nothing waits."""
    with conn.cursor(row_factory=class_row(WaitingWork)) as cur:
        row = cur.execute(_WAITING_WORK).fetchone()
    assert row is not None  # noqa: S101 -- three aggregates give one row
    return row


def end_leases_of_lost_processes(conn: Connection) -> int:
    """End the leases of tasks whose process is lost, and return their number. `reclaim_lost_tasks` finds them then.

    Also ends the wait of tasks that were sent before: a lost process may have taken their messages. A message that is
    still in its queue does no harm.
    """
    return conn.execute(_END_LEASES).rowcount


def end_roles_of_lost_processes(conn: Connection) -> list[str]:
    """End the sessions in which lost processes are recorder or sweeper; return the names of these processes.

    A process that was killed has no session any more. One that is frozen, or whose host has vanished, keeps its role
    from the others otherwise.
    """
    lost = conn.execute(SQL("SELECT name FROM processes WHERE {}").format(LOST)).fetchall()
    return [name for (name,) in lost if end_role_sessions(conn, name)]


def reclaim_lost_tasks(conn: Connection, limit: int = 500) -> list[LostTask]:
    """Make tasks with an expired lease due again, except those that lost too many workers; return them."""
    query = SQL("""
        WITH lost AS (
            SELECT id, state AS was FROM tasks WHERE {lost} AND NOT {too_often}
            ORDER BY lease_until LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        )
        UPDATE tasks t SET state = 'ready', lease_until = NULL,
               code = CASE WHEN was = 'running' THEN %(code)s ELSE t.code END
        FROM lost WHERE t.id = lost.id
        RETURNING t.id, t.event_id, lost.was
    """).format(lost=_LOST, too_often=_TOO_OFTEN)
    with conn.cursor(row_factory=class_row(LostTask)) as cur:
        lost = cur.execute(query, {"deaths": MAX_WORKER_DEATHS, "limit": limit, "code": WORKER_LOST}).fetchall()
    counters.increase(conn, "rescued", len(lost))
    return lost


def tasks_to_give_up(conn: Connection, limit: int = 500) -> list[LostTask]:
    """Return the tasks with an expired lease that lost too many workers, except those with a locked row."""
    query = SQL("""
        SELECT id, event_id, state AS was FROM tasks WHERE {lost} AND {too_often}
        ORDER BY lease_until LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    """).format(lost=_LOST, too_often=_TOO_OFTEN)
    with conn.cursor(row_factory=class_row(LostTask)) as cur:
        return cur.execute(query, {"deaths": MAX_WORKER_DEATHS, "limit": limit}).fetchall()


def give_up(conn: Connection, lost: LostTask) -> None:
    """Let such a task fail, together with its file or action. The caller has locked its conversation."""
    query = SQL("""
        UPDATE tasks SET state = 'failed', code = %s, lease_until = NULL, settled_at = now() WHERE id = %s AND {lost}
        RETURNING kind, attachment_id
    """).format(lost=_LOST)
    row = conn.execute(query, (WORKER_LOST, lost.id)).fetchone()
    if row is None:
        return
    kind, attachment_id = row
    if attachment_id is not None:
        events.mark_file(conn, attachment_id, "failed")
    if kind == "apply_action" and lost.event_id is not None:
        actions.settle(conn, lost.event_id, "failed", WORKER_LOST)
    counters.increase(conn, "rescued", 1)


def stranded_conversations(conn: Connection, *, after: int = 0, limit: int = 2_000) -> StrandedActions:
    """Find conversations with a waiting action and nothing left to wait for. There should be none.

    Examines the next `limit` waiting actions after the task `after`, where the last call ended.
    """
    # OFFSET 0 keeps each look-up by key from becoming a join over whole tables.
    rows = conn.execute(
        """
        WITH waiting AS MATERIALIZED (
            SELECT id, event_id FROM tasks
            WHERE state = 'ready' AND due_at = 'infinity' AND kind = 'apply_action' AND id > %(after)s
            ORDER BY id LIMIT %(limit)s
        ), alone AS MATERIALIZED (
            SELECT DISTINCT a.tenant_id, a.conversation_id
            FROM waiting CROSS JOIN LATERAL (SELECT * FROM actions WHERE event_id = waiting.event_id OFFSET 0) a
            WHERE (a.act_after = 'files' OR a.kind NOT IN ('archive', 'trash') OR (
                       SELECT notified > 0 AND to_notify + not_notified = 0 FROM host_notices(waiting.event_id)))
              AND NOT EXISTS (SELECT FROM attachments f WHERE f.tenant_id = a.tenant_id
                              AND f.conversation_id = a.conversation_id AND f.state <> 'stored' OFFSET 0)
              AND NOT EXISTS (SELECT FROM events e CROSS JOIN LATERAL (
                                  SELECT FROM tasks WHERE event_id = e.id AND kind IN ('fetch_message', 'record')
                                  AND state NOT IN ('done', 'discarded') OFFSET 0) m
                              WHERE e.tenant_id = a.tenant_id AND e.conversation_id = a.conversation_id OFFSET 0)
        )
        SELECT (SELECT count(*) FROM waiting), (SELECT max(id) FROM waiting), tenant_id, conversation_id
        FROM (SELECT) once LEFT JOIN alone
          ON NOT EXISTS (SELECT FROM conversation_family(tenant_id, conversation_id) AS family(id)
                         JOIN attachments f ON f.tenant_id = alone.tenant_id AND f.conversation_id = family.id
                         WHERE f.state <> 'stored')
        """,
        {"after": after, "limit": limit},
    ).fetchall()
    examined, last, *_ = rows[0]
    conversations = [(tenant_id, conversation_id) for *_, tenant_id, conversation_id in rows if tenant_id is not None]
    return StrandedActions(conversations=conversations, until=last if examined == limit else 0)
