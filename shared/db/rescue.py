"""What the sweeper puts right: work whose message or worker was lost, causes that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from shared.db.pool import Connection
from shared.errors import MalformedEnvelope

#: Of compressed bodies read at once; a single larger one is read alone.
MAX_BYTES = 4 * 2**20
#: A task whose worker died this often is not tried again: it may be what kills them.
DEATHS = 5


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A task whose lease ran out while it was `was`: queued (its message is lost) or running (its worker is)."""

    id: int
    event_id: int
    was: str
    gave_up: bool


def take_back(conn: Connection, limit: int = 500) -> list[Lost]:
    """Make tasks whose lease ran out due again; those that ran too often fail with `worker_lost`."""
    with conn.cursor(row_factory=class_row(Lost)) as cur:
        lost = cur.execute(
            """
            WITH lost AS (
                SELECT id, state AS was,
                       state = 'running' AND %(deaths)s <= (SELECT count(*) FROM attempts a
                           WHERE a.task_id = tasks.id AND a.outcome IS NULL) AS gave_up
                FROM tasks WHERE state IN ('queued', 'running') AND lease_until < now()
                ORDER BY lease_until LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            UPDATE tasks t SET state = CASE WHEN gave_up THEN 'failed' ELSE 'ready' END, lease_until = NULL,
                   settled_at = CASE WHEN gave_up THEN now() END,
                   code = CASE WHEN was = 'running' THEN 'worker_lost' ELSE t.code END
            FROM lost WHERE t.id = lost.id
            RETURNING t.id, t.event_id, lost.was, lost.gave_up
            """,
            {"deaths": DEATHS, "limit": limit},
        ).fetchall()
    count(conn, "rescued", len(lost))
    return lost


def count(conn: Connection, name: str, by: int) -> None:
    """Add to a counter that outlives the process."""
    if by:
        conn.execute(
            "INSERT INTO counters (name, value) VALUES (%s, %s)"
            " ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value",
            (name, by),
        )


def stranded_conversations(conn: Connection, limit: int = 200) -> list[tuple[int, str]]:
    """Conversations with a waiting action and nothing left to wait for: should be none, whatever happens."""
    return conn.execute(
        """
        SELECT DISTINCT a.tenant_id, a.conversation_id FROM tasks t JOIN actions a ON a.event_id = t.event_id
        WHERE t.kind = 'apply_action' AND t.state = 'ready' AND t.due_at = 'infinity'
          AND NOT EXISTS (SELECT 1 FROM attachments f WHERE f.tenant_id = a.tenant_id
                          AND f.conversation_id = a.conversation_id AND f.state <> 'stored')
          AND NOT EXISTS (SELECT 1 FROM tasks m JOIN events e ON e.id = m.event_id
                          WHERE e.tenant_id = a.tenant_id AND e.conversation_id = a.conversation_id
                            AND m.kind = 'fetch_message' AND m.state NOT IN ('done', 'discarded'))
        LIMIT %s
        """,
        (limit,),
    ).fetchall()


def forget_scope_problems(conn: Connection, after_seconds: int) -> None:
    """Let tenants whose token lacked a permission try again after a while: Front tells nobody when it was added."""
    conn.execute(
        "UPDATE tenants SET parked_cause = NULL, parked_at = NULL"
        " WHERE parked_cause = 'missing_scope' AND parked_at < now() - make_interval(secs => %s)",
        (after_seconds,),
    )


def park(conn: Connection, tenant_id: int, cause: str, *, token_version: int) -> bool:
    """Let the tenant's tasks wait for `cause`, unless it was connected anew since this token (0: none) was read."""
    return (
        conn.execute(
            """
            UPDATE tenants SET parked_cause = %(cause)s, parked_at = now()
            WHERE id = %(tenant)s AND parked_cause IS NULL
              AND coalesce((SELECT version FROM connections c WHERE c.tenant_id = %(tenant)s), 0) = %(version)s
            """,
            {"cause": cause, "tenant": tenant_id, "version": token_version},
        ).rowcount
        == 1
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
                FROM (SELECT e.id AS event_id, replace(d.id::text, '-', '') AS id, d.received_at, d.origin, d.body
                      FROM events e JOIN tenants t ON t.company_id = e.company_id AND t.connected_at IS NOT NULL
                      JOIN deliveries d ON d.event_id = e.id AND d.body IS NOT NULL
                      WHERE e.state = 'parked' AND e.tenant_id IS NULL
                      ORDER BY e.id LIMIT %s) oldest
            ) counted
            WHERE bytes_before < %s
            ORDER BY event_id, id
            """,
            (limit, MAX_BYTES),
        ).fetchall()


def fail_parked(conn: Connection, event_ids: Sequence[int], reason: str) -> None:
    """Let those of the events that are still parked though their company has a tenant fail visibly."""
    conn.execute(
        """
        WITH failed AS (
            UPDATE events SET state = 'failed', cause = %(code)s
            WHERE id = ANY(%(ids)s) AND state = 'parked' AND tenant_id IS NULL
              AND EXISTS (SELECT FROM tenants WHERE tenants.company_id = events.company_id) RETURNING id
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


def give_up_lost(conn: Connection, event_id: int) -> None:
    """Let the attachments and actions of tasks that lost too many workers fail with them."""
    conn.execute(
        """
        UPDATE attachments SET state = 'failed' WHERE state = 'waiting' AND id IN
            (SELECT attachment_id FROM tasks WHERE event_id = %s AND state = 'failed' AND attachment_id IS NOT NULL)
        """,
        (event_id,),
    )
    conn.execute(
        """
        UPDATE actions SET state = 'failed', reason = 'worker_lost', settled_at = now()
        WHERE event_id = %(event)s AND state IN ('planned', 'intent') AND EXISTS
            (SELECT 1 FROM tasks WHERE event_id = %(event)s AND kind = 'apply_action' AND state = 'failed')
        """,
        {"event": event_id},
    )
