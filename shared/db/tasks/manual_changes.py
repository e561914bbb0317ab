"""Asks for what a policy did to be undone.

That somebody asked stands on the action's row: asking again undoes nothing twice, and an action that still waits ends
where its worker would have written. What is to be changed in Front is a task of the conversation's newest such event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.sql import SQL

from shared.db.core.locks import lock_conversations
from shared.db.core.pool import Connection
from shared.db.tasks import settling
from shared.db.tasks.actions import THING

# Sent by us since then; perhaps sent; or planned by a policy that was read since then, and only a retry away.
_KINDS = (
    SQL("a.state = 'confirmed' AND a.intent_at IS NOT NULL AND a.settled_at >= %(since)s"),
    SQL("a.state = 'intent'"),
    SQL("a.state = 'planned' AND a.planned_at >= %(since)s"),
    SQL("a.state = 'failed' AND a.planned_at >= %(since)s"),
)
_ASKABLE = SQL("a.tenant_id = %(tenant)s AND a.undo_asked_at IS NULL AND NOT a.dry_run AND ")
_WANTED = SQL("{}(({}))").format(_ASKABLE, SQL(") OR (").join(_KINDS))
# Each kind by its own index, and no more of it than is asked for.
_NEXT = SQL('SELECT DISTINCT conversation_id COLLATE "C" FROM ({}) wanted ORDER BY 1').format(
    SQL(" UNION ALL ").join(
        SQL("(SELECT a.conversation_id FROM actions a WHERE {}{} LIMIT %(size)s)").format(_ASKABLE, kind)
        for kind in _KINDS
    )
)


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


@dataclass(frozen=True, kw_only=True)
class Undoable:
    """How many conversations and actions of one kind could be undone; `waiting`: nothing was sent to Front yet."""

    kind: str
    waiting: bool
    conversations: int
    actions: int


def plan_undo(conn: Connection, tenant_id: int, since: datetime) -> list[Undoable]:
    """What asking for an undo now would reach."""
    query = SQL("""
        SELECT a.kind, a.intent_at IS NULL AS waiting, count(*) AS actions,
               count(DISTINCT surviving_conversation(a.tenant_id, a.conversation_id)) AS conversations
        FROM actions a WHERE {} GROUP BY 1, 2 ORDER BY 2, 1
    """).format(_WANTED)
    with conn.cursor(row_factory=class_row(Undoable)) as cur:
        return cur.execute(query, {"tenant": tenant_id, "since": since}).fetchall()


def next_conversations(conn: Connection, tenant_id: int, since: datetime, *, size: int) -> list[str]:
    """Some of the conversations it would reach; others when it was asked for in these, none in the end."""
    rows = conn.execute(_NEXT, {"tenant": tenant_id, "since": since, "size": size})
    return [conversation for (conversation,) in rows]


def ask_for_undo(conn: Connection, tenant_id: int, named: Sequence[str], *, since: datetime, who: str) -> int:
    """Ask for the undo in these conversations, in a transaction of its own; how many actions are asked for."""
    lock_conversations(conn, [(tenant_id, conversation) for conversation in named])
    query = SQL("""
        UPDATE actions a SET undo_asked_at = now(), undo_asked_by = %(who)s
        WHERE a.event_id = ANY(ARRAY(SELECT id FROM events WHERE tenant_id = %(tenant)s
                                     AND conversation_id = ANY(%(named)s)))
          AND {} RETURNING a.event_id
    """).format(_WANTED)
    values = {"tenant": tenant_id, "since": since, "who": who, "named": list(named)}
    asked = [event_id for (event_id,) in conn.execute(query, values)]
    _wake(conn, asked)
    started = [event_id for (event_id,) in conn.execute(_START, {"tenant": tenant_id, "asked": asked})]
    for event_id in asked:
        settling.note(conn, event_id, "undo asked", who=who, detail=f"of everything since {since:%Y-%m-%d %H:%M:%S %Z}")
    for event_id in started:
        settling.update_event(conn, event_id)
    return len(asked)


def _wake(conn: Connection, event_ids: Sequence[int]) -> None:
    """Have those that wait decided anew: they end."""
    conn.execute(
        """
        UPDATE tasks t SET due_at = now() FROM actions a
        WHERE a.event_id = ANY(%s) AND a.state = 'planned' AND t.event_id = a.event_id AND t.kind = 'apply_action'
          AND t.state = 'ready' AND t.due_at > now()
        """,
        (event_ids,),
    )


_START = SQL("""
INSERT INTO tasks (tenant_id, event_id, kind, state)
SELECT %(tenant)s, event_id, 'undo_action', 'ready' FROM (
    SELECT DISTINCT ON (surviving_conversation(a.tenant_id, a.conversation_id), {thing}) a.event_id
    FROM actions a WHERE a.event_id = ANY(%(asked)s) AND a.intent_at IS NOT NULL
    ORDER BY surviving_conversation(a.tenant_id, a.conversation_id), {thing}, a.emitted_at DESC, a.event_id DESC
) newest
RETURNING event_id
""").format(thing=THING.format(action=SQL("a")))
