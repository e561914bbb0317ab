"""Jobs: changes of many tasks, planned as a snapshot, carried out a slice at a time, paused, resumed or cancelled.

Each slice changes some tasks and writes what became of them in one transaction, so a job goes on after any crash where
it was. Of a conversation a job retries one task at a time, the oldest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row
from psycopg.sql import SQL

from shared.db.reading.filters import Filter
from shared.db.reading.tasks import TaskGroup, matching
from shared.db.tasks import manual_changes
from shared.errors import Fenced

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

Verb = Literal["retry", "discard", "recover"]
#: The states of tasks from which each change is possible.
STATES: dict[Verb, tuple[str, ...]] = {
    "retry": ("failed",),
    "discard": ("failed", "ready", "queued"),
    "recover": ("done", "failed", "discarded"),
}
JOB_STATES = ("planned", "running", "paused", "cancelled", "done")
#: The tasks of one job, and those that one slice changes in its transaction.
MOST_ITEMS = 100_000
SLICE_ITEMS = 50
#: So many tasks that a job retried are in work at a time: it leaves workers and Front's budget to live mail.
MOST_IN_FLIGHT = 200
#: Of those that are open, a slice looks at the oldest.
_CANDIDATES = 1_000
#: A worker that has a job is dead when its claim is this old; the job rests this long while everything is in work.
CLAIM_SECONDS = 30.0
REST_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A change that somebody wants to make. `tenant_id`: whose tasks alone it may change."""

    verb: Verb
    words: str
    requested_by: str
    reason: str = ""
    accept_size: bool = False
    tenant_id: int | None = None
    per_minute: int | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as people see it."""

    id: int
    verb: Verb
    words: str
    reason: str
    accept_size: bool
    requested_by: str
    tenant_id: int | None
    state: str
    total: int
    has_more: bool
    per_minute: int | None
    planned_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class JobProgress:
    """A job with the number of its tasks by outcome, and of those that it changed by their state of now."""

    job: Job
    outcomes: dict[str, int]
    states: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A job that is carried out under a claim."""

    id: int
    claims: int
    verb: Verb
    reason: str
    accept_size: bool
    requested_by: str
    per_minute: int | None


@dataclass(frozen=True, kw_only=True)
class Item:
    """A task of a job, in its state of now."""

    task_id: int
    kind: str
    tenant: str | None
    event: str
    state: str
    code: str | None
    outcome: str | None
    settled_at: datetime | None


_COLUMNS = (
    "j.id, j.verb, j.words, j.reason, j.accept_size, j.requested_by, j.tenant_id, j.state, j.total, j.has_more, "
    "j.per_minute, j.planned_at, j.started_at, j.ended_at"
)
_ITEMS = """
    SELECT i.task_id, k.kind, t.name AS tenant, coalesce(e.front_id, '') AS event, k.state, k.code, i.outcome,
        i.settled_at
    FROM job_items i JOIN tasks k ON k.id = i.task_id LEFT JOIN events e ON e.id = k.event_id
    LEFT JOIN tenants t ON t.id = k.tenant_id
    WHERE i.job_id = %(job)s AND (%(outcome)s::text IS NULL OR coalesce(i.outcome, 'open') = %(outcome)s)
      AND i.task_id > %(after)s ORDER BY i.task_id LIMIT %(limit)s
"""
_NEXT = """
    SELECT task_id FROM (
        SELECT i.task_id, row_number() OVER (PARTITION BY i.conversation ORDER BY i.task_id) AS place
        FROM (SELECT * FROM job_items WHERE job_id = %(job)s AND outcome IS NULL ORDER BY task_id
              LIMIT %(candidates)s) i
        WHERE NOT EXISTS (SELECT FROM job_items o WHERE o.job_id = i.job_id AND o.in_flight
                          AND o.conversation = i.conversation)
    ) ranked WHERE place = 1 ORDER BY task_id LIMIT %(room)s
"""
# A task of a parked tenant waits for a person, and so does not hold the others up.
_LAND = """
    UPDATE job_items i SET in_flight = false
    FROM tasks k LEFT JOIN tenants t ON t.id = k.tenant_id
    WHERE i.job_id = %s AND i.in_flight AND k.id = i.task_id
      AND (k.state NOT IN ('ready', 'queued', 'running') OR t.parked_cause IS NOT NULL)
"""


def plan(conn: Connection, wanted: Filter, new: Plan) -> int:
    """Plan a job for the tasks that match now, the oldest first and up to MOST_ITEMS; return its id."""
    row = conn.execute(
        """
        INSERT INTO jobs (verb, words, reason, accept_size, requested_by, tenant_id, per_minute)
        VALUES (%(verb)s, %(words)s, %(reason)s, %(accept_size)s, %(requested_by)s, %(tenant_id)s, %(per_minute)s)
        RETURNING id
        """,
        vars(new),
    ).fetchone()
    assert row is not None  # noqa: S101 -- RETURNING gives the row
    job_id = int(row[0])
    query = SQL("""
        INSERT INTO job_items (job_id, task_id, conversation, version)
        SELECT %(job)s, k.id, coalesce(k.tenant_id || ' ' || e.conversation_id, 'task ' || k.id), k.lease_epoch
        {} ORDER BY k.id LIMIT %(most)s
    """).format(matching(conn, wanted, STATES[new.verb]))
    values = {**wanted.values(), "job": job_id, "most": MOST_ITEMS + 1}
    count = conn.execute(query, values).rowcount
    if count > MOST_ITEMS:
        conn.execute(
            "DELETE FROM job_items WHERE job_id = %s"
            " AND task_id = (SELECT max(task_id) FROM job_items WHERE job_id = %s)",
            (job_id, job_id),
        )
    conn.execute(
        "UPDATE jobs SET total = %s, has_more = %s WHERE id = %s",
        (min(count, MOST_ITEMS), count > MOST_ITEMS, job_id),
    )
    return job_id


def get(conn: Connection, job_id: int) -> Job | None:
    """Return a job."""
    with conn.cursor(row_factory=class_row(Job)) as cursor:
        return cursor.execute(f"SELECT {_COLUMNS} FROM jobs j WHERE id = %s", (job_id,)).fetchone()  # noqa: S608 -- ours


def latest(conn: Connection, *, limit: int, before_id: int | None = None, tenant_id: int | None = None) -> list[Job]:
    """Return the latest jobs, latest first; only those that are bound to one tenant, if it is named."""
    with conn.cursor(row_factory=class_row(Job)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM jobs j WHERE (%(before)s::bigint IS NULL OR id < %(before)s)"  # noqa: S608 -- ours
            " AND (%(tenant)s::bigint IS NULL OR tenant_id = %(tenant)s) ORDER BY id DESC LIMIT %(limit)s",
            {"before": before_id, "limit": limit, "tenant": tenant_id},
        ).fetchall()


def progress(conn: Connection, job_id: int) -> JobProgress | None:
    """Return a job and what became of its tasks."""
    job = get(conn, job_id)
    if job is None:
        return None
    return JobProgress(job=job, outcomes=count_outcomes(conn, job_id), states=count_states(conn, job_id))


def count_outcomes(conn: Connection, job_id: int) -> dict[str, int]:
    """Count the tasks of a job by outcome; those that wait for their change are `open`."""
    rows = conn.execute(
        "SELECT coalesce(outcome, 'open'), count(*) FROM job_items WHERE job_id = %s GROUP BY 1", (job_id,)
    )
    return dict(rows.fetchall())


def count_states(conn: Connection, job_id: int) -> dict[str, int]:
    """Count the tasks that the job changed by their state of now."""
    rows = conn.execute(
        "SELECT k.state, count(*) FROM job_items i JOIN tasks k ON k.id = i.task_id"
        " WHERE i.job_id = %s AND i.outcome = 'done' GROUP BY 1",
        (job_id,),
    )
    return dict(rows.fetchall())


def groups(conn: Connection, job_id: int, *, limit: int) -> list[TaskGroup]:
    """Count the tasks of a job by tenant, kind, state and cause, the largest groups first."""
    with conn.cursor(row_factory=class_row(TaskGroup)) as cursor:
        return cursor.execute(
            """
            SELECT t.name AS tenant, k.kind, k.state, k.code, count(*) AS count
            FROM job_items i JOIN tasks k ON k.id = i.task_id LEFT JOIN tenants t ON t.id = k.tenant_id
            WHERE i.job_id = %s GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4 LIMIT %s
            """,
            (job_id, limit),
        ).fetchall()


def items(conn: Connection, job_id: int, *, limit: int, after: int = 0, outcome: str | None = None) -> list[Item]:
    """Return tasks of a job in order, with what became of each."""
    with conn.cursor(row_factory=class_row(Item)) as cursor:
        values = {"job": job_id, "outcome": outcome, "after": after, "limit": limit}
        return cursor.execute(_ITEMS, values).fetchall()


def set_state(conn: Connection, job_id: int, state: str, *, allowed: Sequence[str]) -> bool:
    """Start, pause, resume or cancel a job that is in one of the `allowed` states. False when it is in another one."""
    cursor = conn.execute(
        """
        UPDATE jobs SET state = %(state)s, claims = claims + 1, claimed_until = '-infinity',
            started_at = CASE WHEN %(state)s = 'running' THEN coalesce(started_at, now()) ELSE started_at END,
            ended_at = CASE WHEN %(state)s = 'cancelled' THEN now() END
        WHERE id = %(job)s AND state = ANY(%(allowed)s)
        """,
        {"job": job_id, "state": state, "allowed": list(allowed)},
    )
    return cursor.rowcount == 1


def due(conn: Connection, *, limit: int = 20) -> list[int]:
    """Return running jobs that nobody carries out at the moment."""
    rows = conn.execute(
        "SELECT id FROM jobs WHERE state = 'running' AND claimed_until < now() ORDER BY id LIMIT %s", (limit,)
    )
    return [job_id for (job_id,) in rows]


def claim(conn: Connection, job_id: int) -> Claimed | None:
    """Take a running job that nobody carries out."""
    with conn.cursor(row_factory=class_row(Claimed)) as cursor:
        return cursor.execute(
            """
            UPDATE jobs SET claims = claims + 1, claimed_until = now() + make_interval(secs => %s)
            WHERE id = %s AND state = 'running' AND claimed_until < now()
            RETURNING id, claims, verb, reason, accept_size, requested_by, per_minute
            """,
            (CLAIM_SECONDS, job_id),
        ).fetchone()


def give_back(conn: Connection, job: Claimed) -> None:
    """End a claim, so that the job goes on with the next one at once."""
    conn.execute("UPDATE jobs SET claimed_until = '-infinity' WHERE id = %s AND claims = %s", (job.id, job.claims))


def run_slice(conn: Connection, job: Claimed) -> int:
    """Change the next tasks of a claimed job, in one transaction; return how many were settled.

    Ends the job with its last task. Raises Fenced when the job was paused, cancelled or taken by another one.
    """
    _extend(conn, job)
    chosen = _next_tasks(conn, job)
    if not chosen:
        _rest_or_end(conn, job)
        return 0
    changed = set(_apply(conn, job, _unchanged(conn, job.id, chosen)))
    conn.execute(
        """
        UPDATE job_items i SET settled_at = clock_timestamp(), in_flight = task_id = ANY(%(retried)s),
            outcome = CASE WHEN task_id = ANY(%(changed)s) THEN 'done'
                           WHEN EXISTS (SELECT FROM tasks WHERE id = i.task_id AND kind = 'record'
                                        AND tenant_id IS NULL) THEN 'not_retryable'
                           ELSE 'moved_on' END
        WHERE job_id = %(job)s AND task_id = ANY(%(chosen)s)
        """,
        {
            "job": job.id,
            "chosen": chosen,
            "changed": list(changed),
            "retried": [] if job.verb == "discard" else list(changed),
        },
    )
    return len(chosen)


def _extend(conn: Connection, job: Claimed) -> None:
    cursor = conn.execute(
        "UPDATE jobs SET claimed_until = now() + make_interval(secs => %s)"
        " WHERE id = %s AND claims = %s AND state = 'running'",
        (CLAIM_SECONDS, job.id, job.claims),
    )
    if cursor.rowcount == 0:
        raise Fenced(f"job {job.id} was paused, cancelled, or taken by another worker")


def _next_tasks(conn: Connection, job: Claimed) -> list[int]:
    conn.execute(_LAND, (job.id,))
    row = conn.execute(
        """
        SELECT (SELECT count(*) FROM job_items WHERE job_id = %(job)s AND in_flight),
               (SELECT count(*) FROM job_items WHERE job_id = %(job)s AND settled_at > now() - interval '1 minute')
        """,
        {"job": job.id},
    ).fetchone()
    in_flight, in_this_minute = row or (0, 0)
    room = min(SLICE_ITEMS, MOST_IN_FLIGHT - in_flight)
    if job.per_minute is not None:
        room = min(room, job.per_minute - in_this_minute)
    values = {"job": job.id, "candidates": _CANDIDATES, "room": max(0, room)}
    return [task_id for (task_id,) in conn.execute(_NEXT, values)]


def _unchanged(conn: Connection, job_id: int, task_ids: list[int]) -> list[int]:
    """Return those of the tasks that nobody took since the job was planned."""
    rows = conn.execute(
        """
        SELECT k.id FROM job_items i JOIN tasks k ON k.id = i.task_id
        WHERE i.job_id = %s AND i.task_id = ANY(%s) AND k.lease_epoch = i.version
        """,
        (job_id, task_ids),
    )
    return [task_id for (task_id,) in rows]


def _apply(conn: Connection, job: Claimed, task_ids: list[int]) -> list[int]:
    who = f"{job.requested_by}, job {job.id}"
    if job.verb == "retry":
        return manual_changes.retry(conn, task_ids, who=who, accept_size=job.accept_size)
    if job.verb == "recover":
        return manual_changes.recover(conn, task_ids, who=who)
    return manual_changes.discard(conn, task_ids, who=who, reason=job.reason)


def _rest_or_end(conn: Connection, job: Claimed) -> None:
    conn.execute(
        """
        UPDATE jobs SET claimed_until = now() + make_interval(secs => %(rest)s) WHERE id = %(job)s
          AND EXISTS (SELECT FROM job_items WHERE job_id = %(job)s AND (outcome IS NULL OR in_flight))
        """,
        {"job": job.id, "rest": REST_SECONDS},
    )
    conn.execute(
        """
        UPDATE jobs SET state = 'done', ended_at = now(), claimed_until = '-infinity' WHERE id = %(job)s
          AND NOT EXISTS (SELECT FROM job_items WHERE job_id = %(job)s AND (outcome IS NULL OR in_flight))
        """,
        {"job": job.id},
    )
