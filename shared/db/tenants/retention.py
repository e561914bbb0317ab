"""Deletes what is older than it shall be kept: events with all that belongs to them, then their files.

Only finished events, and only where nothing of their conversation is open: what is failed waits for a person, and open
work looks at the files and events of its conversation. And only those that are too old to be acted on: the same event,
should Front send it once more, is a new one to us afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from shared.db.core.locks import try_lock_retention
from shared.db.core.pool import Connection
from shared.db.tasks import rescue

OLD_EVENTS = """
    SELECT old.id FROM tenants t CROSS JOIN LATERAL (
        SELECT e.id FROM events e
        WHERE e.tenant_id = t.id AND e.state IN ('done', 'ignored')
          AND e.received_at < now() - greatest(make_interval(days => %(days)s), t.act_within)
          AND NOT EXISTS (SELECT FROM tasks k WHERE k.event_id = e.id AND k.state IN ('ready', 'queued', 'running'))
          AND NOT EXISTS (SELECT FROM conversation_family(e.tenant_id, e.conversation_id) AS family(id)
                          JOIN events o ON o.tenant_id = e.tenant_id AND o.conversation_id = family.id
                          WHERE o.state IN ('processing', 'failed'))
        ORDER BY e.received_at LIMIT %(limit)s FOR UPDATE OF e SKIP LOCKED
    ) old
    LIMIT %(limit)s
"""
# Ordered as the index is, read backwards: tenants that are null come first, with their oldest event.
UNCLAIMED = """
    SELECT e.id FROM events e
    WHERE e.tenant_id IS NULL AND e.received_at < now() - make_interval(days => %(days)s)
      AND (e.state = 'ignored'
           OR e.state = 'parked' AND NOT EXISTS (SELECT FROM tenants t WHERE t.company_id = e.company_id))
    ORDER BY e.tenant_id DESC, e.received_at LIMIT %(limit)s FOR UPDATE OF e SKIP LOCKED
"""
EXPIRE_FILES = """
    INSERT INTO expired_files (tenant_id, front_id, path)
    SELECT tenant_id, front_id, max(path) FROM attachments WHERE event_id = ANY(%s) GROUP BY tenant_id, front_id
    ON CONFLICT (tenant_id, front_id) DO UPDATE SET path = coalesce(excluded.path, expired_files.path)
"""
# Cascades, like foreign-key checks, are planned once a session: see recording.begin. And a tenant's old events are read
# in the order of their index: to sort all of them for the oldest hundred takes the longer the more there are.
IN_ORDER = """
    SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
        set_config('enable_sort', 'off', true)
"""
QUERIES = {"events": OLD_EVENTS, "unclaimed": UNCLAIMED}

#: A file by its tenant and Front's id.
FileKey = tuple[int, str]


@dataclass(frozen=True, kw_only=True)
class ExpiredFile:
    """A file of deleted events; `path` is None where it was never said to be stored, though it may be.

    `is_needed`: another event has it, too.
    """

    tenant_id: int
    front_id: str
    path: str | None
    is_needed: bool


def delete_older(conn: Connection, what: str, *, days: int, limit: int) -> int:
    """Delete some events that came more than `days` ago, and name their files as expired; how many.

    `what`: "events", those of tenants, or "unclaimed", those of companies that nobody connected. Deletes nothing while
    somebody else does.
    """
    if not try_lock_retention(conn):
        return 0
    conn.execute(IN_ORDER)
    ids = [event_id for (event_id,) in conn.execute(QUERIES[what].encode(), {"days": days, "limit": limit})]
    if ids:
        conn.execute(EXPIRE_FILES, (ids,))
        conn.execute("DELETE FROM events WHERE id = ANY(%s)", (ids,))
        rescue.count(conn, f"deleted:{what}", len(ids))
    return len(ids)


def claim_files(conn: Connection, *, limit: int, seconds: float) -> list[FileKey]:
    """Be the one who deletes some files of deleted events, for so long. Commit before `expired_files` is asked."""
    return conn.execute(
        """
        WITH free AS (
            SELECT tenant_id, front_id FROM expired_files WHERE coalesce(deleting_until, '-infinity') < now()
            LIMIT %s FOR UPDATE SKIP LOCKED
        )
        UPDATE expired_files f SET deleting_until = now() + make_interval(secs => %s)
        FROM free WHERE f.tenant_id = free.tenant_id AND f.front_id = free.front_id RETURNING f.tenant_id, f.front_id
        """,
        (limit, seconds),
    ).fetchall()


def expired_files(conn: Connection, claimed: Sequence[FileKey]) -> list[ExpiredFile]:
    """These files of deleted events. An event that has one and is recorded later waits for us to end."""
    with conn.cursor(row_factory=class_row(ExpiredFile)) as cursor:
        return cursor.execute(
            """
            SELECT f.tenant_id, f.front_id, f.path,
                EXISTS (SELECT FROM attachments a WHERE a.tenant_id = f.tenant_id AND a.front_id = f.front_id)
                AS is_needed
            FROM unnest(%s::bigint[], %s::text[]) AS k(tenant_id, front_id)
            JOIN expired_files f USING (tenant_id, front_id)
            """,
            _columns(claimed),
        ).fetchall()


def being_deleted(conn: Connection, tenant_id: int, front_id: str) -> float:
    """For how many seconds at most the file of a deleted event may be on its way out of the storage; 0: it is not."""
    row = conn.execute(
        "SELECT extract(epoch FROM deleting_until - now())::float8 FROM expired_files"
        " WHERE tenant_id = %s AND front_id = %s AND deleting_until > now()",
        (tenant_id, front_id),
    ).fetchone()
    return float(row[0]) if row else 0.0


def release_files(conn: Connection, claimed: Sequence[FileKey]) -> None:
    """These could not be deleted: anybody may try again."""
    conn.execute(
        "UPDATE expired_files f SET deleting_until = NULL"
        " FROM unnest(%s::bigint[], %s::text[]) AS k(tenant_id, front_id)"
        " WHERE f.tenant_id = k.tenant_id AND f.front_id = k.front_id",
        _columns(claimed),
    )


def forget_files(conn: Connection, files: Sequence[ExpiredFile]) -> None:
    """These are gone from the storage, or needed by another event, with which they will go."""
    conn.execute(
        "DELETE FROM expired_files f USING unnest(%s::bigint[], %s::text[]) AS k(tenant_id, front_id)"
        " WHERE f.tenant_id = k.tenant_id AND f.front_id = k.front_id",
        _columns([(file.tenant_id, file.front_id) for file in files]),
    )
    rescue.count(conn, "deleted:files", sum(not file.is_needed for file in files))


def _columns(files: Sequence[FileKey]) -> tuple[list[int], list[str]]:
    return [tenant_id for tenant_id, _ in files], [front_id for _, front_id in files]
