"""What a person does to tasks: try again, or give up on them for good."""

from __future__ import annotations

from collections.abc import Sequence

from shared.db import settling
from shared.db.locks import lock_conversations
from shared.db.pool import Connection


def retry(conn: Connection, task_ids: Sequence[int], *, who: str) -> list[int]:
    """Make failed tasks due again, with all their tries; the ids of those that were failed.

    A task of kind `record` is not among them: its body cannot be read, and trying again changes nothing.
    """
    _lock(conn, task_ids)
    return [task_id for task_id in sorted(task_ids) if _retry(conn, task_id, who)]


def discard(conn: Connection, task_ids: Sequence[int], *, who: str, reason: str) -> list[int]:
    """Give up on failed or waiting tasks; the ids of those that were. What waited for them is released."""
    _lock(conn, task_ids)
    return [task_id for task_id in sorted(task_ids) if _discard(conn, task_id, who, reason)]


def _retry(conn: Connection, task_id: int, who: str) -> bool:
    changed = conn.execute(
        """
        UPDATE tasks SET state = 'ready', due_at = now(), attempts = 0, sends = 0, code = NULL, detail = NULL,
               settled_at = NULL
        WHERE id = %s AND state = 'failed' AND kind <> 'record' RETURNING event_id
        """,
        (task_id,),
    ).fetchone()
    if changed is None:
        return False
    event_id = int(changed[0])
    conn.execute("UPDATE attempts SET outcome = 'lost' WHERE task_id = %s AND outcome IS NULL", (task_id,))
    _attachment_of(conn, task_id, "waiting")
    conn.execute(
        """
        UPDATE actions SET state = CASE WHEN intent_at IS NULL THEN 'planned' ELSE 'intent' END, settled_at = NULL
        WHERE state = 'failed' AND event_id = (SELECT event_id FROM tasks WHERE id = %s AND kind = 'apply_action')
        """,
        (task_id,),
    )
    settling.update_event(conn, event_id)
    settling.note(conn, event_id, "task_retried", who=who, detail=f"task {task_id}")
    return True


def _discard(conn: Connection, task_id: int, who: str, reason: str) -> bool:
    changed = conn.execute(
        """
        UPDATE tasks SET state = 'discarded', lease_until = NULL, settled_at = now()
        WHERE id = %s AND state IN ('failed', 'ready', 'queued') RETURNING event_id
        """,
        (task_id,),
    ).fetchone()
    if changed is None:
        return False
    event_id = int(changed[0])
    _attachment_of(conn, task_id, "discarded")
    conn.execute(
        """
        UPDATE actions SET state = 'discarded', reason = %s, settled_at = now() WHERE state <> 'confirmed'
          AND event_id = (SELECT event_id FROM tasks WHERE id = %s AND kind = 'apply_action')
        """,
        (f"discarded: {reason}", task_id),
    )
    settling.release(conn, *settling.conversation_of(conn, event_id))
    settling.update_event(conn, event_id)
    settling.note(conn, event_id, "task_discarded", who=who, detail=f"task {task_id}: {reason}")
    return True


def _lock(conn: Connection, task_ids: Sequence[int]) -> None:
    """Lock the tasks' conversations."""
    conversations = conn.execute(
        """
        SELECT DISTINCT coalesce(e.tenant_id, 0), coalesce(e.conversation_id, '')
        FROM tasks t JOIN events e ON e.id = t.event_id WHERE t.id = ANY(%s)
        """,
        (list(task_ids),),
    ).fetchall()
    lock_conversations(conn, conversations)


def _attachment_of(conn: Connection, task_id: int, state: str) -> None:
    conn.execute(
        "UPDATE attachments SET state = %s"
        " WHERE state <> 'stored' AND id = (SELECT attachment_id FROM tasks WHERE id = %s)",
        (state, task_id),
    )
