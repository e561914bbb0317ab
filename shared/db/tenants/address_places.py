"""Finds and masks an e-mail address wherever rows have it.

Bodies are compressed, so every event is read for it. The names of tables and columns come from PostgreSQL's catalogue,
so that none is left out. `expression` is that of a `SubjectAddress`. With a tenant, only its rows are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row
from psycopg.sql import SQL, Composed, Identifier, Placeholder

from shared.db.tasks import manual_changes
from shared.db.tenants import retention
from shared.db.tenants.erasing import tables_with

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

#: Of compressed bodies read at once; a single larger event is read alone.
MAX_BYTES = 4 * 2**20
#: The cause of an event that nobody can record for a tenant any more, because its body is gone.
ERASED = "address_erased"
#: Stands in place of the names of files that were sent by or to the address.
FILE_NAME = "erased"
_EVENTS = """
    SELECT id, tenant_id, conversation_id, state, handles, body, fetched FROM (
        SELECT *, sum(size) OVER (ORDER BY id) - size AS before FROM (
            SELECT e.id, e.tenant_id, coalesce(e.conversation_id, '') AS conversation_id, e.state,
                ARRAY(SELECT r->>0 FROM json_array_elements(e.recipients) r) AS handles, d.body, f.body AS fetched,
                coalesce(octet_length(d.body), 0) + coalesce(octet_length(f.body), 0) AS size
            FROM events e
            LEFT JOIN LATERAL (SELECT body FROM deliveries WHERE event_id = e.id AND body IS NOT NULL
                               ORDER BY received_at, id LIMIT 1) d ON true
            LEFT JOIN fetched_messages f ON f.event_id = e.id
            WHERE {which} AND (%(tenant)s::bigint IS NULL OR e.tenant_id = %(tenant)s)
            ORDER BY e.id LIMIT %(limit)s) next
    ) counted WHERE before < %(bytes)s ORDER BY id
"""
_AFTER = _EVENTS.format(which="e.id > %(after)s AND e.id <= %(until)s").encode()
_WAITING = _EVENTS.format(
    which="e.id IN (SELECT event_id FROM address_erasure_items WHERE erasure_id = %(erasure)s AND outcome IS NULL)"
).encode()
_COLUMNS = """
    SELECT c.relname, a.attname, y.typname FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type y ON y.oid = a.atttypid
    WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attgenerated = '' AND y.typname IN ('text', 'varchar', 'json', 'jsonb', '_text') ORDER BY 1, 2
"""
_REPLACED: Mapping[str, SQL] = {
    "text": SQL("regexp_replace({column}, %(expression)s, %(mask)s, 'gi')"),
    "varchar": SQL("regexp_replace({column}, %(expression)s, %(mask)s, 'gi')"),
    "json": SQL("regexp_replace({column}::text, %(expression)s, %(mask)s, 'gi')::json"),
    "jsonb": SQL("regexp_replace({column}::text, %(expression)s, %(mask)s, 'gi')::jsonb"),
    "_text": SQL("ARRAY(SELECT regexp_replace(each, %(expression)s, %(mask)s, 'gi') FROM unnest({column}) each)"),
}
#: Columns that nobody is shown, though they are text.
_HIDDEN = {"password", "oidc_subject", "nonce", "code_verifier"}
#: The work that would bring the content of a message back.
_BRINGS_CONTENT = ("record", "fetch_message", "store_attachment")

Columns = Mapping[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    """An event with the handles of its recipients and its compressed bodies: of the webhook, and as Front gave it."""

    id: int
    tenant_id: int | None
    conversation_id: str
    state: str
    handles: list[str]
    body: bytes | None
    fetched: bytes | None


def last_event(conn: Connection) -> int:
    """Return the id of the last event that is recorded."""
    row = conn.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    return int(row[0]) if row else 0


def events_after(conn: Connection, after: int, *, until: int, tenant_id: int | None, limit: int) -> list[StoredEvent]:
    """Return the next events by id; fewer than `limit` when their bodies exceed MAX_BYTES."""
    with conn.cursor(row_factory=class_row(StoredEvent)) as cursor:
        values = {"after": after, "until": until, "tenant": tenant_id, "limit": limit, "bytes": MAX_BYTES}
        return cursor.execute(_AFTER, values).fetchall()


def waiting_events(conn: Connection, erasure_id: int, *, limit: int) -> list[StoredEvent]:
    """Return events of an erasure that waited for a running task."""
    with conn.cursor(row_factory=class_row(StoredEvent)) as cursor:
        values = {"erasure": erasure_id, "tenant": None, "limit": limit, "bytes": MAX_BYTES}
        return cursor.execute(_WAITING, values).fetchall()


def lock_tasks(conn: Connection, event_ids: Sequence[int]) -> set[int]:
    """Lock the tasks of events whose conversations are locked; return the events of which one runs."""
    rows = conn.execute(
        "SELECT event_id, state FROM tasks WHERE event_id = ANY(%s) AND kind = ANY(%s) ORDER BY id FOR UPDATE",
        (list(event_ids), list(_BRINGS_CONTENT)),
    )
    return {event_id for event_id, state in rows if state == "running"}


def cut_events(conn: Connection, event_ids: Sequence[int], *, who: str, reason: str) -> None:
    """Delete all that events say, and discard the tasks that would bring it back. Their rows stay, with their actions.

    The caller has locked their conversations and tasks. An event that waited for its tenant is ignored from now on.
    """
    ids = list(event_ids)
    rows = conn.execute(
        "SELECT id FROM tasks WHERE event_id = ANY(%s) AND kind = ANY(%s) AND state IN ('failed', 'ready', 'queued')",
        (ids, list(_BRINGS_CONTENT)),
    )
    manual_changes.discard(conn, [task_id for (task_id,) in rows], who=who, reason=reason)
    retention.cut_content(conn, ids)
    conn.execute("UPDATE attachments SET filename = %s WHERE event_id = ANY(%s)", (FILE_NAME, ids))
    conn.execute(
        "UPDATE events SET state = 'ignored', cause = %s, to_announce = false"
        " WHERE id = ANY(%s) AND state = 'parked' AND tenant_id IS NULL",
        (ERASED, ids),
    )


def replace_bodies(conn: Connection, event_id: int, *, body: bytes | None, fetched: bytes | None) -> None:
    """Put masked bodies, compressed, in the place of an event's own ones; None leaves what is there."""
    if body is not None:
        conn.execute("UPDATE deliveries SET body = %s WHERE event_id = %s AND body IS NOT NULL", (body, event_id))
    if fetched is not None:
        conn.execute("UPDATE fetched_messages SET body = %s WHERE event_id = %s", (fetched, event_id))


def mask_events(conn: Connection, expression: str, mask: str, event_ids: Sequence[int]) -> set[int]:
    """Mask the address in all columns of these events and of what belongs to them; return those that had it."""
    values = {"expression": expression, "mask": mask, "ids": list(event_ids)}
    found: set[int] = set()
    for table, columns, key, scope in _of_events(conn):
        query = SQL("{} RETURNING {}").format(_masking(table, columns, scope), key)
        found |= {event_id for (event_id,) in conn.execute(query, values)}
    return found


def events_with(conn: Connection, expression: str, event_ids: Sequence[int]) -> set[int]:
    """Return those of the events that have the address in a column, or in one of what belongs to them."""
    values = {"expression": expression, "ids": list(event_ids)}
    found: set[int] = set()
    for table, columns, key, scope in _of_events(conn):
        query = SQL("SELECT {} FROM {} WHERE {} AND {}").format(key, Identifier(table), scope, _has(columns))
        found |= {event_id for (event_id,) in conn.execute(query, values)}
    return found


def _of_events(conn: Connection) -> Iterator[tuple[str, Sequence[tuple[str, str]], SQL, SQL]]:
    """Yield the tables with rows of events: columns of text, the event's id, and the condition for some events."""
    columns = _text_columns(conn)
    yield "events", columns["events"], SQL("id"), SQL("id = ANY(%(ids)s)")
    yield "attempts", columns["attempts"], SQL("(SELECT event_id FROM tasks WHERE id = task_id)"), _OF_TASKS
    for table in tables_with(conn, "event_id"):
        if table in columns:
            yield table, columns[table], SQL("event_id"), SQL("event_id = ANY(%(ids)s)")


_OF_TASKS = SQL("task_id IN (SELECT id FROM tasks WHERE event_id = ANY(%(ids)s))")


def delete_owners(conn: Connection, key: str, *, tenant_id: int | None) -> dict[str, int]:
    """Delete the address from users and shared inboxes, and users without another address; count rows by table."""
    values = {"key": key, "tenant": tenant_id}
    scope = "(%(tenant)s::bigint IS NULL OR tenant_id = %(tenant)s)"
    owners = conn.execute(
        f"DELETE FROM user_addresses WHERE tenant_id = ANY(ARRAY(SELECT id FROM tenants)) AND address = %(key)s"  # noqa: S608 -- ours
        f" AND {scope} RETURNING tenant_id, user_id".encode(),
        values,
    ).fetchall()
    inboxes = conn.execute(
        f"DELETE FROM inbox_addresses WHERE tenant_id = ANY(ARRAY(SELECT id FROM tenants)) AND address = %(key)s"  # noqa: S608
        f" AND {scope}".encode(),
        values,
    ).rowcount
    users = 0
    for owner in owners:
        users += conn.execute(
            "DELETE FROM users u WHERE tenant_id = %s AND id = %s AND NOT EXISTS"
            " (SELECT FROM user_addresses a WHERE a.tenant_id = u.tenant_id AND a.user_id = u.id)",
            owner,
        ).rowcount
    return {"user_addresses": len(owners), "inbox_addresses": inboxes, "users": users}


def rows_of_owners(conn: Connection, key: str, *, tenant_id: int | None) -> list[dict[str, Any]]:
    """Return the users with the address, each with all their addresses."""
    rows = conn.execute(
        """
        SELECT to_jsonb(u) || jsonb_build_object('addresses', ARRAY(
            SELECT as_given FROM user_addresses o WHERE o.tenant_id = u.tenant_id AND o.user_id = u.id
            ORDER BY position))
        FROM user_addresses a JOIN users u ON u.tenant_id = a.tenant_id AND u.id = a.user_id
        WHERE a.tenant_id = ANY(ARRAY(SELECT id FROM tenants)) AND a.address = %(key)s
          AND (%(tenant)s::bigint IS NULL OR a.tenant_id = %(tenant)s)
        """,
        {"key": key, "tenant": tenant_id},
    )
    return [row for (row,) in rows]


def notifications_of(conn: Connection, event_id: int) -> list[dict[str, Any]]:
    """Return the items of the feed about an event."""
    rows = conn.execute("SELECT to_jsonb(n) FROM notifications n WHERE event_id = %s ORDER BY position", (event_id,))
    return [row for (row,) in rows]


def forget_account(conn: Connection, key: str, mask: str, *, digest: bytes) -> dict[str, int]:
    """Make a disabled account nameless, and delete the failed log-ins with its address; count rows by table."""
    accounts = conn.execute(
        "UPDATE accounts SET email = %(mask)s, name = %(mask)s, password = NULL, oidc_issuer = NULL,"
        " oidc_subject = NULL WHERE lower(email) = %(key)s AND disabled_at IS NOT NULL",
        {"key": key, "mask": mask},
    ).rowcount
    failures = conn.execute("DELETE FROM login_failures WHERE account = %s", (digest,)).rowcount
    return {"accounts": accounts, "login_failures": failures}


def mask_others(conn: Connection, expression: str, mask: str, *, tenant_id: int | None) -> dict[str, int]:
    """Mask the address in all rows that belong to no event, however long that takes; count rows by table."""
    conn.execute("SET LOCAL statement_timeout = 0")
    values = {"expression": expression, "mask": mask, "tenant": tenant_id}
    counts = {
        table: conn.execute(_masking(table, columns, scope), values).rowcount
        for table, columns, scope in _others(conn, tenant_id)
    }
    return {table: count for table, count in counts.items() if count}


def rows_of_others(conn: Connection, expression: str, *, tenant_id: int | None) -> dict[str, list[dict[str, Any]]]:
    """Return the rows with the address that belong to no event, by table, without secrets."""
    conn.execute("SET LOCAL statement_timeout = 0")
    found: dict[str, list[dict[str, Any]]] = {}
    for table, columns, scope in _others(conn, tenant_id):
        shown = SQL(
            "to_jsonb(r) - ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = {}::regclass AND"
            " (atttypid = 'bytea'::regtype OR attname = ANY(%(hidden)s)))"
        ).format(table)
        query = SQL("SELECT {} FROM {} r WHERE {} AND {}").format(shown, Identifier(table), scope, _has(columns))
        values = {"expression": expression, "tenant": tenant_id, "hidden": sorted(_HIDDEN)}
        if rows := [row for (row,) in conn.execute(query, values)]:
            found[table] = rows
    return found


def _others(conn: Connection, tenant_id: int | None) -> list[tuple[str, Sequence[tuple[str, str]], SQL]]:
    """Return the tables with rows of no event: their columns of text, and the condition for these rows."""
    of_events, of_tenants = set(tables_with(conn, "event_id")), set(tables_with(conn, "tenant_id"))
    found: list[tuple[str, Sequence[tuple[str, str]], SQL]] = []
    for table, columns in _text_columns(conn).items():
        if table in {"events", "address_erasures"}:
            continue
        if table == "attempts":
            scope = "task_id IN (SELECT id FROM tasks WHERE event_id IS NULL AND ({tenant}))"
        else:
            scope = "event_id IS NULL AND {tenant}" if table in of_events else "{tenant}"
        is_bound = table in of_tenants or table == "attempts"
        if tenant_id is not None and not is_bound and table != "tenants":
            continue
        column = "id" if table == "tenants" else "tenant_id"
        narrowed = f"{column} = %(tenant)s" if tenant_id is not None else "%(tenant)s::bigint IS NULL"
        found.append((table, columns, SQL(scope.replace("{tenant}", narrowed))))
    return found


def _text_columns(conn: Connection) -> Columns:
    columns: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in conn.execute(_COLUMNS):
        columns.setdefault(table, []).append((column, kind))
    return columns


def _masking(table: str, columns: Sequence[tuple[str, str]], scope: SQL) -> Composed:
    assignments = SQL(", ").join(
        SQL("{} = {}").format(Identifier(name), _REPLACED[kind].format(column=Identifier(name)))
        for name, kind in columns
    )
    return SQL("UPDATE {} SET {} WHERE {} AND {}").format(Identifier(table), assignments, scope, _has(columns))


def _has(columns: Sequence[tuple[str, str]]) -> Composed:
    conditions = [SQL("{}::text ~* {}").format(Identifier(name), Placeholder("expression")) for name, _ in columns]
    return SQL("({})").format(SQL(" OR ").join(conditions))
