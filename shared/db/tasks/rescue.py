"""What the sweeper puts right: work whose message or worker was lost, causes that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.sql import SQL

from shared.db.core.pool import Connection
from shared.db.tasks import actions, events
from shared.errors import MalformedEnvelope

#: Of compressed bodies read at once; a single larger one is read alone.
MAX_BYTES = 4 * 2**20
#: A task whose worker died this often is not tried again: it may be what kills them.
DEATHS = 5
WORKER_LOST = "worker_lost"


_LOST = SQL("tasks.state IN ('queued', 'running') AND tasks.lease_until < now()")
_TOO_OFTEN = SQL("""
(tasks.state = 'running' AND %(deaths)s <= (SELECT count(*) FROM attempts a
                                            WHERE a.task_id = tasks.id AND a.outcome IS NULL))
""")


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A task whose lease ran out while it was `was`: queued (its message is lost) or running (its worker is)."""

    id: int
    event_id: int
    was: str


def take_back(conn: Connection, limit: int = 500) -> list[Lost]:
    """Make tasks whose lease ran out due again, but for those that ran too often."""
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
    with conn.cursor(row_factory=class_row(Lost)) as cur:
        lost = cur.execute(query, {"deaths": DEATHS, "limit": limit, "code": WORKER_LOST}).fetchall()
    count(conn, "rescued", len(lost))
    return lost


def doomed(conn: Connection, limit: int = 500) -> list[Lost]:
    """The tasks whose lease ran out once too often, but for those that somebody holds just now."""
    query = SQL("""
        SELECT id, event_id, state AS was FROM tasks WHERE {lost} AND {too_often}
        ORDER BY lease_until LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    """).format(lost=_LOST, too_often=_TOO_OFTEN)
    with conn.cursor(row_factory=class_row(Lost)) as cur:
        return cur.execute(query, {"deaths": DEATHS, "limit": limit}).fetchall()


def give_up_lost(conn: Connection, lost: Lost) -> None:
    """Let a doomed task fail, with its file or action; call with its conversation locked."""
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
    if kind == "apply_action":
        actions.settle(conn, lost.event_id, "failed", WORKER_LOST)
    count(conn, "rescued", 1)


def count(conn: Connection, name: str, by: int) -> None:
    """Add to a counter that outlives the process."""
    if by:
        conn.execute(
            "INSERT INTO counters (name, value) VALUES (%s, %s)"
            " ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value",
            (name, by),
        )


@dataclass(frozen=True, kw_only=True)
class Stranded:
    """What a look has found, and `until` which task it came; 0 at the end of all."""

    conversations: list[tuple[int, str]]
    until: int


def stranded_conversations(conn: Connection, *, after: int = 0, looks_at: int = 2_000) -> Stranded:
    """Conversations with a waiting action and nothing left to wait for: should be none, whatever happens.

    Looks at so many of the waiting actions, from the one `after` which the last look ended.
    """
    # OFFSET keeps what is looked up for each action from becoming a join with all there is.
    rows = conn.execute(
        """
        WITH waiting AS MATERIALIZED (
            SELECT id, event_id FROM tasks
            WHERE state = 'ready' AND due_at = 'infinity' AND kind = 'apply_action' AND id > %(after)s
            ORDER BY id LIMIT %(looks_at)s
        ), alone AS MATERIALIZED (
            SELECT DISTINCT a.tenant_id, a.conversation_id
            FROM waiting CROSS JOIN LATERAL (SELECT * FROM actions WHERE event_id = waiting.event_id OFFSET 0) a
            WHERE NOT EXISTS (SELECT FROM attachments f WHERE f.tenant_id = a.tenant_id
                              AND f.conversation_id = a.conversation_id AND f.state <> 'stored' OFFSET 0)
              AND NOT EXISTS (SELECT FROM events e CROSS JOIN LATERAL (
                                  SELECT FROM tasks WHERE event_id = e.id AND kind = 'fetch_message'
                                  AND state NOT IN ('done', 'discarded') OFFSET 0) m
                              WHERE e.tenant_id = a.tenant_id AND e.conversation_id = a.conversation_id OFFSET 0)
        )
        SELECT (SELECT count(*) FROM waiting), (SELECT max(id) FROM waiting), tenant_id, conversation_id
        FROM (SELECT) once LEFT JOIN alone
          ON NOT EXISTS (SELECT FROM conversation_family(tenant_id, conversation_id) AS family(id)
                         JOIN attachments f ON f.tenant_id = alone.tenant_id AND f.conversation_id = family.id
                         WHERE f.state <> 'stored')
        """,
        {"after": after, "looks_at": looks_at},
    ).fetchall()
    looked_at, last, *_ = rows[0]
    conversations = [(tenant_id, conversation_id) for *_, tenant_id, conversation_id in rows if tenant_id is not None]
    return Stranded(conversations=conversations, until=last if looked_at == looks_at else 0)


def park(conn: Connection, tenant_id: int, cause: str, *, token_version: int, probe_seconds: float) -> bool:
    """Let the tenant's tasks wait for `cause`, unless it was connected anew since this token (0: none) was read.

    A permission that is missing, still or for the first time, is tried again by one task after `probe_seconds`.
    """
    # A statement of its own: one that waited for a connection in the making would still see the version of before.
    conn.execute("SELECT FROM tenants WHERE id = %s FOR NO KEY UPDATE", (tenant_id,))
    return (
        conn.execute(
            """
            UPDATE tenants SET parked_cause = %(cause)s, parked_at = coalesce(parked_at, now()),
                   probe_at = CASE %(cause)s WHEN 'missing_scope' THEN now() + make_interval(secs => %(probe)s) END
            WHERE id = %(tenant)s AND (parked_cause IS NULL OR parked_cause = 'missing_scope')
              AND coalesce((SELECT version FROM connections c WHERE c.tenant_id = %(tenant)s), 0) = %(version)s
            """,
            {"cause": cause, "tenant": tenant_id, "version": token_version, "probe": probe_seconds},
        ).rowcount
        == 1
    )


def release_scope(conn: Connection, tenant_id: int) -> None:
    """One task went through: the permission that the tenant's token lacked is there."""
    conn.execute(
        "UPDATE tenants SET parked_cause = NULL, parked_at = NULL, probe_at = NULL, probe_task_id = NULL"
        " WHERE id = %s AND parked_cause = 'missing_scope'",
        (tenant_id,),
    )


def hold_back(conn: Connection, tenant_id: int, seconds: float) -> None:
    """Dispatch nothing of the tenant for a while: Front's budget for its company is used up."""
    conn.execute(
        "UPDATE tenants SET not_before = greatest(not_before, now() + make_interval(secs => %s)) WHERE id = %s",
        (seconds, tenant_id),
    )


@dataclass(frozen=True, kw_only=True)
class ParkedDelivery:
    """The first delivery of an event whose company was unknown and now is a tenant's."""

    event_id: int
    id: str
    received_at: datetime
    origin: str
    body: bytes


def adoptable(conn: Connection, limit: int = 200) -> list[ParkedDelivery]:
    """Deliveries of parked events whose company a tenant has now, the oldest first, fewer where bodies are large.

    Bodies are compressed.
    """
    with conn.cursor(row_factory=class_row(ParkedDelivery)) as cur:
        return cur.execute(
            """
            SELECT event_id, id, received_at, origin, body FROM (
                SELECT *, sum(octet_length(body)) OVER (ORDER BY event_id, id) - octet_length(body) AS bytes_before
                FROM (SELECT parked.* FROM tenants t CROSS JOIN LATERAL (
                          SELECT e.id AS event_id, replace(d.id::text, '-', '') AS id, d.received_at, d.origin, d.body
                          FROM events e JOIN deliveries d ON d.event_id = e.id AND d.body IS NOT NULL
                          WHERE e.company_id = t.company_id AND e.state = 'parked' AND e.tenant_id IS NULL
                          ORDER BY e.id LIMIT %(limit)s) parked
                      WHERE t.connected_at IS NOT NULL AND t.parked_cause IS DISTINCT FROM 'erasing'
                      ORDER BY event_id LIMIT %(limit)s) oldest
            ) counted
            WHERE bytes_before < %(bytes)s
            ORDER BY event_id, id
            """,
            {"limit": limit, "bytes": MAX_BYTES},
        ).fetchall()


def fail_parked(conn: Connection, event_ids: Sequence[int], reason: str) -> None:
    """Let those of the events that are still parked though their company has a tenant fail visibly."""
    conn.execute(
        """
        WITH failed AS (
            UPDATE events SET state = 'failed', cause = %(code)s
            WHERE id = ANY(%(ids)s) AND state = 'parked' AND tenant_id IS NULL
              AND EXISTS (SELECT FROM tenants WHERE tenants.company_id = events.company_id
                          AND parked_cause IS DISTINCT FROM 'erasing') RETURNING id
        )
        INSERT INTO tasks (event_id, kind, state, code, detail, settled_at)
        SELECT id, 'record', 'failed', %(code)s, %(detail)s, now() FROM failed
        """,
        {"code": MalformedEnvelope.code, "ids": list(event_ids), "detail": reason},
    )


def something_spooled(conn: Connection) -> bool:
    """Whether the door put deliveries into PostgreSQL."""
    row = conn.execute("SELECT EXISTS (SELECT 1 FROM spooled_deliveries)").fetchone()
    return bool(row and row[0])
