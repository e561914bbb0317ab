"""Which single task may find out whether something is over: an outage for everybody, or a missing permission."""

from __future__ import annotations

from shared.db.dispatching import queue_one
from shared.db.pool import Connection


def queue_probe(conn: Connection, *, every_seconds: float) -> list[int]:
    """Queue a task that asks whether what is away is back, when it is time to; its id.

    While Front is away no file can be stored either: then the one task asks for both.
    """
    away: dict[str, bool] = dict(conn.execute("SELECT what, probe_at <= now() FROM outages FOR UPDATE").fetchall())
    if not away.get("front", away.get("storage")):
        return []
    task_id = queue_one(conn, files_only="front" not in away)
    if task_id is None:
        return []
    conn.execute(
        "UPDATE outages SET probe_task_id = %s, probe_at = now() + make_interval(secs => %s)", (task_id, every_seconds)
    )
    return [task_id]
