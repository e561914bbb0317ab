"""Deletes what is old in tiers: first bodies and files of finished events, then their rows, and failed events last.

Finished events are deleted only while no event of their conversation is open or failed: failed work waits for a person,
and open work reads the files and events of its conversation. The events must also be too old to be acted on: a deleted
event counts as new when Front sends it again. And they stay for as long as the feed has a notification of theirs, whose
end is cut off first: a reader finds either all of it or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from operator import itemgetter

from psycopg.rows import class_row

from shared.db import counters
from shared.db.core.locks import try_lock_retention
from shared.db.core.pool import Connection

OLD_EVENTS = """
    SELECT old.id FROM tenants t CROSS JOIN LATERAL (
        SELECT e.id FROM events e
        WHERE e.tenant_id = t.id AND e.state IN ('done', 'ignored')
          AND e.received_at < now() - greatest(make_interval(days => %(days)s), t.act_within)
          AND NOT EXISTS (SELECT FROM notifications n WHERE n.event_id = e.id)
          AND NOT EXISTS (SELECT FROM tasks k WHERE k.event_id = e.id AND k.state IN ('ready', 'queued', 'running'))
          AND NOT EXISTS (SELECT FROM conversation_family(e.tenant_id, e.conversation_id) AS family(id)
                          JOIN events o ON o.tenant_id = e.tenant_id AND o.conversation_id = family.id
                          WHERE o.state IN ('processing', 'failed'))
        ORDER BY e.received_at LIMIT %(limit)s FOR UPDATE OF e SKIP LOCKED
    ) old
    LIMIT %(limit)s
"""
# Failed events wait for a person, yet not for ever. What else is in work in the conversation keeps them.
FAILED = """
    SELECT e.id FROM events e LEFT JOIN tenants t ON t.id = e.tenant_id
    WHERE e.state = 'failed'
      AND e.received_at < now() - greatest(make_interval(days => %(days)s), coalesce(t.act_within, '0'))
      AND NOT EXISTS (SELECT FROM notifications n WHERE n.event_id = e.id)
      AND NOT EXISTS (SELECT FROM tasks k WHERE k.event_id = e.id AND k.state IN ('ready', 'queued', 'running'))
      AND NOT EXISTS (SELECT FROM conversation_family(e.tenant_id, e.conversation_id) AS family(id)
                      JOIN events o ON o.tenant_id = e.tenant_id AND o.conversation_id = family.id
                      WHERE o.state = 'processing')
    ORDER BY e.id LIMIT %(limit)s FOR UPDATE OF e SKIP LOCKED
"""
# Each event is looked at once, by id, and again while it is postponed. An index of events with a body would cost the
# recorder an entry for each.
TO_CUT = """
    SELECT id, is_old FROM (
        SELECT id, received_at < now() - make_interval(days => %(days)s) AS is_old FROM events
        WHERE id > (SELECT coalesce(max(value), 0) FROM counters WHERE name = %(reached)s) ORDER BY id LIMIT %(limit)s
    ) next ORDER BY id
"""
POSTPONED = "SELECT event_id FROM postponed_cuts ORDER BY looked_at LIMIT %s"
MAY_BE_CUT = """
    SELECT e.id FROM events e
    WHERE e.id = ANY(%(ids)s) AND e.state IN ('done', 'ignored')
      AND e.received_at < now() - make_interval(days => %(days)s)
      AND NOT EXISTS (SELECT FROM notifications n WHERE n.event_id = e.id)
      AND NOT EXISTS (SELECT FROM tasks k WHERE k.event_id = e.id AND k.state IN ('ready', 'queued', 'running'))
    ORDER BY e.id FOR UPDATE OF e SKIP LOCKED
"""
#: The counter that says up to which event the content of all was looked at.
REACHED = "content_looked_at"
# The order of the index, read backwards: events without a tenant come first, with the oldest event.
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
EXPIRE_STORED = EXPIRE_FILES.replace("ANY(%s)", "ANY(%s) AND path IS NOT NULL")
# Cascades, like foreign-key checks, are planned once for each session: see recording.statements.begin_reading. The old
# events of a tenant are read in the order of their index; to sort all of them for the oldest hundred would take longer
# the more there are.
PLAN_BY_INDEX = """
    SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
        set_config('enable_sort', 'off', true)
"""
QUERIES = {"events": OLD_EVENTS, "unclaimed": UNCLAIMED, "failed": FAILED}

#: The tenant's id and Front's id of a file.
FileKey = tuple[int, str]


@dataclass(frozen=True, kw_only=True)
class ExpiredFile:
    """A file of deleted events. `path` is None when no row says that the file is stored, though it may be.

    `is_needed`: another event has the file too.
    """

    tenant_id: int
    front_id: str
    path: str | None
    is_needed: bool


def delete_older(conn: Connection, what: str, *, days: int, limit: int) -> int:
    """Delete up to `limit` events received more than `days` ago, and list their files as expired; return their number.

    `what` is "events" for finished ones of tenants, "unclaimed" for those of companies without a tenant, or "failed".
    While another transaction deletes old events, this one deletes none.
    """
    if not try_lock_retention(conn):
        return 0
    conn.execute(PLAN_BY_INDEX)
    ids = [event_id for (event_id,) in conn.execute(QUERIES[what].encode(), {"days": days, "limit": limit})]
    if ids:
        conn.execute(EXPIRE_FILES, (ids,))
        conn.execute("DELETE FROM events WHERE id = ANY(%s)", (ids,))
        counters.increase(conn, f"deleted:{what}", len(ids))
    return len(ids)


def cut_older(conn: Connection, *, days: int, limit: int) -> int:
    """Cut bodies and files of finished events received more than `days` ago; return how many events were settled.

    Their rows stay, and so does the content of events that failed, are open, or are in the feed. The files are listed
    as expired. While another transaction deletes old events, this one does nothing.
    """
    if not try_lock_retention(conn):
        return 0
    values = {"days": days, "limit": limit, "reached": REACHED}
    rows = conn.execute(TO_CUT, values).fetchall()
    old = [event_id for event_id, _ in takewhile(itemgetter(1), rows)]
    postponed = {event_id for (event_id,) in conn.execute(POSTPONED, (10 * limit,))}
    may_be_cut = [event_id for (event_id,) in conn.execute(MAY_BE_CUT, values | {"ids": [*old, *postponed]})]
    counters.increase(conn, "deleted:bodies", cut_content(conn, may_be_cut))
    kept = sorted({*old, *postponed} - {*may_be_cut})
    conn.execute("DELETE FROM postponed_cuts WHERE event_id = ANY(%s)", (may_be_cut,))
    conn.execute(
        "INSERT INTO postponed_cuts (event_id) SELECT unnest(%s::bigint[])"
        " ON CONFLICT (event_id) DO UPDATE SET looked_at = now()",
        (kept,),
    )
    if old:
        conn.execute(
            "INSERT INTO counters (name, value) VALUES (%s, %s)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (REACHED, old[-1]),
        )
    return len(old) + len(postponed & {*may_be_cut})


def cut_content(conn: Connection, event_ids: Sequence[int]) -> int:
    """Delete the bodies and fetched messages of events, and list their stored files as expired.

    Returns the number of bodies. A file's row says that it was stored, with its size and digest, and has no path.
    """
    ids = list(event_ids)
    bodies = conn.execute(
        "UPDATE deliveries SET body = NULL WHERE event_id = ANY(%s) AND body IS NOT NULL", (ids,)
    ).rowcount
    conn.execute("DELETE FROM fetched_messages WHERE event_id = ANY(%s)", (ids,))
    conn.execute(EXPIRE_STORED, (ids,))
    conn.execute("UPDATE attachments SET path = NULL WHERE event_id = ANY(%s) AND path IS NOT NULL", (ids,))
    return bodies


def claim_files(conn: Connection, *, limit: int, seconds: float) -> list[FileKey]:
    """Claim the deletion of some expired files for so long. Commit before calling `expired_files`."""
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
    """Return the claimed files. An event that is recorded later and has one of them waits until the claim ends."""
    with conn.cursor(row_factory=class_row(ExpiredFile)) as cursor:
        return cursor.execute(
            """
            SELECT f.tenant_id, f.front_id, f.path,
                EXISTS (SELECT FROM attachments a WHERE a.tenant_id = f.tenant_id AND a.front_id = f.front_id
                        AND (a.path IS NOT NULL OR a.state <> 'stored')) AS is_needed
            FROM unnest(%s::bigint[], %s::text[]) AS k(tenant_id, front_id)
            JOIN expired_files f USING (tenant_id, front_id)
            """,
            _columns(claimed),
        ).fetchall()


def deletion_seconds_left(conn: Connection, tenant_id: int, front_id: str) -> float:
    """Return for how many seconds at most the file may still be deleted from the storage; 0 when it is not."""
    row = conn.execute(
        "SELECT extract(epoch FROM deleting_until - now())::float8 FROM expired_files"
        " WHERE tenant_id = %s AND front_id = %s AND deleting_until > now()",
        (tenant_id, front_id),
    ).fetchone()
    return float(row[0]) if row else 0.0


def release_files(conn: Connection, claimed: Sequence[FileKey]) -> None:
    """Give up the claim of files that could not be deleted, so that anybody may try again."""
    conn.execute(
        "UPDATE expired_files f SET deleting_until = NULL"
        " FROM unnest(%s::bigint[], %s::text[]) AS k(tenant_id, front_id)"
        " WHERE f.tenant_id = k.tenant_id AND f.front_id = k.front_id",
        _columns(claimed),
    )


def forget_files(conn: Connection, files: Sequence[ExpiredFile]) -> None:
    """Remove files from the list: they are deleted, or another event needs them and will list them again."""
    conn.execute(
        "DELETE FROM expired_files f USING unnest(%s::bigint[], %s::text[]) AS k(tenant_id, front_id)"
        " WHERE f.tenant_id = k.tenant_id AND f.front_id = k.front_id",
        _columns([(file.tenant_id, file.front_id) for file in files]),
    )
    counters.increase(conn, "deleted:files", sum(not file.is_needed for file in files))


def _columns(files: Sequence[FileKey]) -> tuple[list[int], list[str]]:
    return [tenant_id for tenant_id, _ in files], [front_id for _, front_id in files]
