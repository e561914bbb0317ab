"""Outages for everybody, of Front or the storage, and the unanswered tasks that make an outage of Front likely."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg.rows import class_row

from shared.db.core.pool import Connection

Service = Literal["front", "storage"]


@dataclass(frozen=True, kw_only=True)
class Outage:
    """An outage of `what`; `code` and `detail` describe the failure that showed it."""

    what: Service
    since: datetime
    code: str
    detail: str


def current_outages(conn: Connection) -> list[Outage]:
    """Return the current outages."""
    with conn.cursor(row_factory=class_row(Outage)) as cur:
        return cur.execute("SELECT what, since, code, detail FROM outages ORDER BY what").fetchall()


def begin(conn: Connection, what: Service, *, code: str, detail: str, probe_seconds: float) -> bool:
    """Record that an outage began. False when it was known.

    The attempts that Front left unanswered are given back to their tasks, which are due again. Because this changes
    other tasks, it must not run in the transaction that settles one.
    """
    begun = conn.execute(
        """
        INSERT INTO outages (what, since, code, detail, probe_at)
        SELECT %(what)s, CASE %(what)s WHEN 'front' THEN coalesce(min(since), now()) ELSE now() END,
               %(code)s, %(detail)s, now() + make_interval(secs => %(probe)s)
        FROM unanswered_tasks
        ON CONFLICT (what) DO NOTHING
        """,
        {"what": what, "code": code, "detail": detail, "probe": probe_seconds},
    ).rowcount
    if begun and what == "front":
        _give_attempts_back(conn)
    return begun == 1


def end(conn: Connection, what: Service) -> Outage | None:
    """End an outage and return it; None when there was none."""
    with conn.cursor(row_factory=class_row(Outage)) as cur:
        return cur.execute(
            "DELETE FROM outages WHERE what = %s RETURNING what, since, code, detail", (what,)
        ).fetchone()


def note_unanswered(conn: Connection, task_id: int) -> None:
    """Record that Front did not answer an attempt that counts."""
    conn.execute(
        "INSERT INTO unanswered_tasks AS u (task_id) SELECT id FROM tasks WHERE id = %s"
        " ON CONFLICT (task_id) DO UPDATE SET attempts = u.attempts + 1",
        (task_id,),
    )


def note_answer(conn: Connection) -> None:
    """Forget all unanswered tasks, because Front answered one."""
    conn.execute("DELETE FROM unanswered_tasks")


def count_other_unanswered(conn: Connection, task_id: int) -> int:
    """Count the other tasks that Front left unanswered since its last answer to anybody."""
    row = conn.execute("SELECT count(*) FROM unanswered_tasks WHERE task_id <> %s", (task_id,)).fetchone()
    return row[0] if row else 0


def _give_attempts_back(conn: Connection) -> None:
    conn.execute(
        """
        WITH unanswered AS (DELETE FROM unanswered_tasks RETURNING task_id, attempts)
        UPDATE tasks t SET attempts = greatest(t.attempts - unanswered.attempts, 0),
               due_at = CASE WHEN t.state = 'ready' THEN least(t.due_at, now()) ELSE t.due_at END
        FROM unanswered WHERE t.id = unanswered.task_id AND t.state IN ('ready', 'queued', 'running')
        """
    )
