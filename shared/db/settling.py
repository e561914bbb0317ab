"""What follows when a task of a conversation ends: released actions and the event's state.

Everything here runs with the conversation locked (`lock_conversation`), in the transaction that ends the task: two
files that are stored at the same moment take turns, and the second one sees the first. A conversation is always all
that Front merged with it.
"""

from __future__ import annotations

from shared.blocking import Unstored, blocked
from shared.db.pool import Connection


def update_event(conn: Connection, event_id: int) -> None:
    """Derive the event's state from its tasks: any failed, else any open, else done."""
    conn.execute(
        """
        UPDATE events e
        SET state = CASE WHEN t.failed > 0 THEN 'failed' WHEN t.open > 0 THEN 'processing' ELSE 'done' END,
               cause = CASE WHEN t.failed > 0 THEN t.code END
        FROM (SELECT count(*) FILTER (WHERE state = 'failed') AS failed,
                     count(*) FILTER (WHERE state IN ('ready', 'queued', 'running')) AS open,
                     min(code) FILTER (WHERE state = 'failed') AS code
              FROM tasks WHERE event_id = %(id)s) t
        WHERE e.id = %(id)s AND e.state IN ('processing', 'done', 'failed')
        """,
        {"id": event_id},
    )


def conversation_of(conn: Connection, event_id: int) -> tuple[int, str]:
    """What to lock before anything of this event is settled: its tenant and conversation."""
    row = conn.execute(
        "SELECT coalesce(tenant_id, 0), coalesce(conversation_id, '') FROM events WHERE id = %s", (event_id,)
    ).fetchone()
    if row is None:
        raise LookupError(f"event {event_id} is gone")
    return row[0], row[1]


def waiting_actions(conn: Connection, tenant_id: int, conversation_id: str) -> list[tuple[int, str, str]]:
    """(task id, kind, wait_for) of the actions of the conversation that wait to be released."""
    return conn.execute(
        """
        SELECT t.id, a.kind, a.wait_for FROM actions a
        JOIN tasks t ON t.event_id = a.event_id AND t.kind = 'apply_action'
        WHERE a.tenant_id = %(tenant)s AND a.state IN ('planned', 'intent')
          AND a.conversation_id = ANY(ARRAY(SELECT conversation_family(%(tenant)s, %(conversation)s)))
          AND t.state = 'ready' AND t.due_at = 'infinity'
        """,
        {"tenant": tenant_id, "conversation": conversation_id},
    ).fetchall()


def unstored(conn: Connection, tenant_id: int, conversation_id: str) -> Unstored:
    """How many files of the conversation wait, failed, were discarded; an unread message counts like a file."""
    row = conn.execute(
        """
        WITH family AS (SELECT conversation_family(%(tenant)s, %(conversation)s) AS id), missing AS (
            SELECT state FROM attachments
            WHERE tenant_id = %(tenant)s AND conversation_id = ANY(ARRAY(SELECT id FROM family)) AND state <> 'stored'
            UNION ALL
            SELECT CASE WHEN t.state IN ('ready', 'queued', 'running') THEN 'waiting' ELSE t.state END
            FROM events e JOIN tasks t ON t.event_id = e.id AND t.kind = 'fetch_message'
            WHERE e.tenant_id = %(tenant)s AND e.conversation_id = ANY(ARRAY(SELECT id FROM family))
        )
        SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'failed'),
               count(*) FILTER (WHERE state = 'discarded')
        FROM missing
        """,
        {"tenant": tenant_id, "conversation": conversation_id},
    ).fetchone()
    assert row is not None  # noqa: S101 -- an aggregate gives one row
    return Unstored(waiting=row[0], failed=row[1], discarded=row[2])


def release(conn: Connection, tenant_id: int, conversation_id: str) -> int:
    """Make due the waiting actions that nothing blocks any more; how many."""
    waiting = waiting_actions(conn, tenant_id, conversation_id)
    if not waiting:
        return 0
    missing = unstored(conn, tenant_id, conversation_id)
    free = [task_id for task_id, kind, wait_for in waiting if blocked(kind, wait_for, missing) is None]
    conn.execute("UPDATE tasks SET due_at = now() WHERE id = ANY(%s) AND state = 'ready'", (free,))
    return len(free)


def note(conn: Connection, event_id: int, what: str, *, who: str = "mailroom", detail: str = "") -> None:
    """Add a decision to the event's journal."""
    conn.execute(
        "INSERT INTO journal (event_id, what, who, detail) VALUES (%s, %s, %s, %s)", (event_id, what, who, detail)
    )
