"""What is away for everybody, Front or the storage, and the suspicion that Front is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg.rows import class_row

from shared.db.core.pool import Connection

What = Literal["front", "storage"]


@dataclass(frozen=True, kw_only=True)
class Outage:
    """Something that is away for everybody; `code` and `detail` are those of the failure that showed it."""

    what: What
    since: datetime
    code: str
    detail: str


def standing(conn: Connection) -> list[Outage]:
    """What is away now."""
    with conn.cursor(row_factory=class_row(Outage)) as cur:
        return cur.execute("SELECT what, since, code, detail FROM outages ORDER BY what").fetchall()


def begin(conn: Connection, what: What, *, code: str, detail: str, probe_seconds: float) -> bool:
    """It is away. False when that was known. Attempts that Front left unanswered were none, and are due again.

    Changes other tasks: not for the transaction that settles one.
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
        _give_back(conn)
    return begun == 1


def end(conn: Connection, what: What) -> Outage | None:
    """It is back; what was away, None when it was known to be there."""
    with conn.cursor(row_factory=class_row(Outage)) as cur:
        return cur.execute(
            "DELETE FROM outages WHERE what = %s RETURNING what, since, code, detail", (what,)
        ).fetchone()


def note_unanswered(conn: Connection, task_id: int) -> None:
    """An attempt at the task was counted, and Front had not answered."""
    conn.execute(
        "INSERT INTO unanswered_tasks AS u (task_id) SELECT id FROM tasks WHERE id = %s"
        " ON CONFLICT (task_id) DO UPDATE SET attempts = u.attempts + 1",
        (task_id,),
    )


def note_answer(conn: Connection) -> None:
    """Front answered somebody. Writes nothing when there is nothing to forget."""
    conn.execute("DELETE FROM unanswered_tasks")


def unanswered_besides(conn: Connection, task_id: int) -> int:
    """How many other tasks Front did not answer since it last answered anybody."""
    row = conn.execute("SELECT count(*) FROM unanswered_tasks WHERE task_id <> %s", (task_id,)).fetchone()
    return row[0] if row else 0


def _give_back(conn: Connection) -> None:
    conn.execute(
        """
        WITH gone AS (DELETE FROM unanswered_tasks RETURNING task_id, attempts)
        UPDATE tasks t SET attempts = greatest(t.attempts - gone.attempts, 0),
               due_at = CASE WHEN t.state = 'ready' THEN least(t.due_at, now()) ELSE t.due_at END
        FROM gone WHERE t.id = gone.task_id AND t.state IN ('ready', 'queued', 'running')
        """
    )
