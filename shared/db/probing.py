"""Which single task may find out whether something is over: an outage for everybody, or a missing permission."""

from __future__ import annotations

from psycopg.sql import SQL, Composed

from shared.db.dispatching import RESEND_SECONDS, queue_one
from shared.db.pool import Connection

_FILES = SQL("state = 'ready' AND kind = 'store_attachment'")
_ANY = SQL("(state = 'ready' AND kind <> 'store_attachment' OR {})").format(_FILES)  # each part has its index
_IN_TIME = SQL("probe_at <= now() AND NOT EXISTS (SELECT FROM outages WHERE what = 'front')")


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
        [task_id] if task_id is not None else _queued(conn, _of_the_lacking(files_only=files_only), again_seconds, 1)
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
    return _queued(conn, _one_each(_ANY, _IN_TIME), again_seconds, limit)


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


def _queued(conn: Connection, query: Composed, again_seconds: float, limit: int) -> list[int]:
    parameters = {"limit": limit, "again": again_seconds, "resend": RESEND_SECONDS}
    return [task_id for (task_id,) in conn.execute(query, parameters)]
