"""The database of a backup and of a restore: what it holds, how it is emptied, and what must not be done twice.

After a restore our rows are older than Front. A change that was made since the backup looks as if it was still to be
made. So each open action gets an intent: its attempt looks for the change in Front before it writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from psycopg import IsolationLevel
from psycopg.rows import class_row

from shared.db.core.migrate import has_migrations
from shared.db.core.pool import Connection
from shared.db.host import outbox
from shared.db.repairs import stop_repairs

_NUMBERS = {
    # A worker that was killed right before the restore may still have a write under way at Front.
    "write_seconds": 15,
    # A worker that outlived the restore must not take a restored task for its own: it has a lease of a lower epoch.
    "skipped_leases": 1_000,
    # Ids that were given away after the backup are not given away again: hosts and files may know them.
    "skipped_ids": 1_000_000,
    # A repair compares nothing younger than two minutes, so a second one follows.
    "second_repair": 180,
    # Where no repair has ended yet, events of so long before the backup are compared.
    "repaired_hours": 24,
}
_FILES_AT_ONCE = 1_000

_OBJECTS = """
SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
       c.oid::regclass::text
FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
UNION ALL
SELECT 'FUNCTION', p.oid::regprocedure::text FROM pg_proc p
WHERE p.pronamespace = current_schema()::regnamespace AND p.prokind = 'f'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
"""

# Each statement runs once, in this order. Log-ins, links and states that were used or ended since would be good again.
_FORBID_REPEATING = (
    """
    UPDATE actions SET state = 'intent', intent_at = coalesce(intent_at, emitted_at)
    WHERE state IN ('planned', 'intent') AND NOT dry_run AND undo_asked_at IS NULL
    """,
    "UPDATE actions SET intent_at = emitted_at WHERE state = 'failed' AND intent_at IS NULL AND NOT dry_run",
    """
    UPDATE actions a SET undo_intent_at = undo_asked_at
    WHERE undo_asked_at IS NOT NULL AND undone_at IS NULL AND undo_intent_at IS NULL
      AND EXISTS (SELECT FROM tasks t WHERE t.event_id = a.event_id AND t.kind = 'undo_action'
                  AND t.state IN ('ready', 'queued', 'running', 'failed'))
    """,
    """
    UPDATE tasks SET state = 'ready', lease_until = NULL, lease_epoch = lease_epoch + %(skipped_leases)s, sends = 0,
           due_at = CASE WHEN due_at = 'infinity' THEN due_at
                         ELSE greatest(due_at, now() + make_interval(secs => %(write_seconds)s)) END
    WHERE state IN ('ready', 'queued', 'running')
    """,
    "UPDATE attempts SET outcome = 'lost', ended_at = now() WHERE outcome IS NULL",
    "DELETE FROM conversation_snapshots",
    "DELETE FROM unanswered_tasks",
    "DELETE FROM processes",
    "DELETE FROM console_sessions",
    "DELETE FROM login_links",
    "DELETE FROM oidc_logins",
    "DELETE FROM oauth_states",
    "UPDATE connect_links SET ended = 'replaced' WHERE ended IS NULL",
    """
    SELECT setval(c.oid, coalesce(pg_sequence_last_value(c.oid), 0) + %(skipped_ids)s)
    FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'i'
    WHERE c.relkind = 'S' AND c.relnamespace = current_schema()::regnamespace
    """,
)

_REQUEST_REPAIRS = """
INSERT INTO repairs (tenant_id, requested_by, asked_since, due_at)
SELECT t.id, 'restore',
       CASE WHEN m.repaired_until IS NULL THEN %(backup)s - make_interval(hours => %(repaired_hours)s) END,
       now() + due.after
FROM tenants t LEFT JOIN repair_progress m ON m.tenant_id = t.id
CROSS JOIN (VALUES (interval '0'), (make_interval(secs => %(second_repair)s))) due(after)
WHERE t.connected_at IS NOT NULL AND t.company_id IS NOT NULL
ORDER BY due.after, t.id
"""

_FETCH_AGAIN = """
WITH missing AS (
    UPDATE attachments SET state = 'waiting', size = NULL, sha256 = NULL, path = NULL, stored_at = NULL
    WHERE tenant_id = %(tenant)s AND state = 'stored' AND path = ANY(%(paths)s) RETURNING id, event_id
), due AS (
    UPDATE tasks t SET state = 'ready', due_at = now(), attempts = 0, sends = 0, settled_at = NULL
    FROM missing WHERE t.attachment_id = missing.id AND t.event_id = missing.event_id AND t.kind = 'store_attachment'
    RETURNING t.event_id
)
SELECT event_id FROM due
"""


class AppliedMigration(NamedTuple):
    """A migration that was applied to a database."""

    name: str
    checksum: str
    applied_at: datetime


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file that rows say is stored. `path` is below STORAGE_URL."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a database at one moment. `id` lets another session see the same."""

    id: str
    at: datetime
    schema: str
    feed_epoch: str
    migrations: Sequence[AppliedMigration]


def note_backup(conn: Connection, made_at: datetime) -> None:
    """Note that there is a complete backup of this moment."""
    conn.execute("INSERT INTO backups (made_at) VALUES (%s) ON CONFLICT DO NOTHING", (made_at,))


def hold_snapshot(conn: Connection) -> None:
    """Let the next transaction of this connection see one state of the database, whatever others commit."""
    conn.isolation_level = IsolationLevel.REPEATABLE_READ


def export_snapshot(conn: Connection) -> Snapshot:
    """Return the snapshot of this transaction. It is good for others until the transaction ends, however long."""
    conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    if conn.info.server_version >= 170_000:
        conn.execute("SET LOCAL transaction_timeout = 0")
    row = conn.execute(
        "SELECT pg_export_snapshot(), now(), current_schema(), (SELECT epoch FROM feed_state)"
    ).fetchone()
    assert row is not None  # noqa: S101 -- SELECT without FROM gives one row
    with conn.cursor(row_factory=class_row(AppliedMigration)) as cur:
        applied = cur.execute("SELECT name, checksum, applied_at FROM schema_migrations ORDER BY name").fetchall()
    return Snapshot(id=row[0], at=row[1], schema=row[2], feed_epoch=row[3], migrations=applied)


def stored_files(conn: Connection, tenant_id: int | None = None) -> Iterator[StoredFile]:
    """Return each stored file once, a tenant's files together. The caller has begun a transaction."""
    with conn.cursor("stored_files", row_factory=class_row(StoredFile)) as cur:
        cur.itersize = _FILES_AT_ONCE
        cur.execute(
            """
            SELECT DISTINCT ON (path COLLATE "C") path, size, sha256 FROM attachments
            WHERE state = 'stored' AND path IS NOT NULL AND (%(tenant)s::bigint IS NULL OR tenant_id = %(tenant)s)
            ORDER BY path COLLATE "C", stored_at DESC
            """,
            {"tenant": tenant_id},
        )
        yield from cur


def other_sessions(conn: Connection) -> list[str]:
    """Return the names of the programs that are connected to this database, without this one."""
    rows = conn.execute(
        """
        SELECT DISTINCT coalesce(nullif(application_name, ''), 'without a name') FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY 1
        """
    )
    return [name for (name,) in rows]


def schema_name(conn: Connection) -> str | None:
    """Return the name of the schema in which our tables are; None when it does not exist."""
    row = conn.execute("SELECT current_schema()").fetchone()
    return row[0] if row else None


def is_empty(conn: Connection) -> bool:
    """Whether the schema has no table, view or function."""
    return not conn.execute(_OBJECTS).fetchone()


def is_ours(conn: Connection) -> bool:
    """Whether the schema is one of Mailroom, also after a restore that was interrupted."""
    return has_migrations(conn)


def empty(conn: Connection) -> None:
    """Drop every table, view and function of the schema, in one transaction."""
    with conn.transaction():
        for kind, name in conn.execute(_OBJECTS).fetchall():
            conn.execute(f"DROP {kind} IF EXISTS {name} CASCADE".encode())  # the server quoted the name


def put_migrations(conn: Connection, migrations: Sequence[AppliedMigration]) -> None:
    """Record the migrations of the backup. From the commit on, processes work on the database."""
    with conn.cursor() as cur:
        cur.executemany("INSERT INTO schema_migrations (name, checksum, applied_at) VALUES (%s, %s, %s)", migrations)


def forbid_repeating(conn: Connection, *, backup_at: datetime) -> str:
    """Let nothing be done twice that may have been done since the backup; return the new epoch of the feed.

    No process of Mailroom works on the database meanwhile.
    """
    conn.execute("INSERT INTO restores (backup_at) VALUES (%s)", (backup_at,))
    for statement in _FORBID_REPEATING:
        conn.execute(statement, _NUMBERS)
    return outbox.renew_epoch(conn)


def request_repairs(conn: Connection, *, backup_at: datetime) -> int:
    """Ask for the repairs that bring back what was received since the backup; return the number of tenants.

    Each goes on from the end of the tenant's last repair.
    """
    stop_repairs(conn, None, who="restore")
    return conn.execute(_REQUEST_REPAIRS, {**_NUMBERS, "backup": backup_at}).rowcount // 2


def fetch_again(conn: Connection, tenant_id: int, paths: Sequence[str]) -> int:
    """Have these files of a tenant fetched from Front again; return the number of their attachments."""
    events = [event_id for (event_id,) in conn.execute(_FETCH_AGAIN, {"tenant": tenant_id, "paths": list(paths)})]
    for event_id in sorted(set(events)):
        conn.execute("SELECT update_event_state(%s)", (event_id,))
    return len(events)


def tenants_with_files(conn: Connection) -> list[int]:
    """Return the ids of the tenants that have stored files."""
    rows = conn.execute(
        "SELECT DISTINCT tenant_id FROM attachments WHERE state = 'stored' AND path IS NOT NULL ORDER BY 1"
    )
    return [tenant_id for (tenant_id,) in rows]
