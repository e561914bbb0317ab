"""Changes that people ask for: retry or discard tasks, and undo the actions of a policy.

A request for an undo is stored in the action's row, so a second request undoes nothing twice. An action that was not
sent yet ends before its worker would send it. Only a change that Front has must be undone there. One task does it,
which belongs to the latest such event of the conversation.
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
from shared.db.tasks.actions import CHANGED_PART

# Actions that can be undone: sent since then; perhaps sent; planned since then; failed, but a retry may send them.
_UNDOABLE_STATES = (
    SQL("a.state = 'confirmed' AND a.intent_at IS NOT NULL AND a.settled_at >= %(since)s"),
    SQL("a.state = 'intent'"),
    SQL("a.state = 'planned' AND a.planned_at >= %(since)s"),
    SQL("a.state = 'failed' AND a.planned_at >= %(since)s"),
)
_NOT_ASKED = SQL("a.tenant_id = %(tenant)s AND a.undo_asked_at IS NULL AND NOT a.dry_run AND ")
_UNDOABLE = SQL("{}(({}))").format(_NOT_ASKED, SQL(") OR (").join(_UNDOABLE_STATES))
# Each state has its own index, and no more rows are read than are asked for.
_NEXT_CONVERSATIONS = SQL('SELECT DISTINCT conversation_id COLLATE "C" FROM ({}) undoable ORDER BY 1').format(
    SQL(" UNION ALL ").join(
        SQL("(SELECT a.conversation_id FROM actions a WHERE {}{} LIMIT %(size)s)").format(_NOT_ASKED, state)
        for state in _UNDOABLE_STATES
    )
)
_START_UNDOS = SQL("""
INSERT INTO tasks (tenant_id, event_id, kind, state)
SELECT %(tenant)s, event_id, 'undo_action', 'ready' FROM (
    SELECT DISTINCT ON (surviving_conversation(a.tenant_id, a.conversation_id), {thing}) a.event_id
    FROM actions a WHERE a.event_id = ANY(%(asked)s) AND a.intent_at IS NOT NULL
    ORDER BY surviving_conversation(a.tenant_id, a.conversation_id), {thing}, a.emitted_at DESC, a.event_id DESC
) latest
RETURNING event_id
""").format(thing=CHANGED_PART.format(action=SQL("a")))

_RETRYABLE = SQL("state = 'failed' AND (kind <> 'record' OR tenant_id IS NOT NULL)")
_ENDED_NOTIFICATION = SQL("kind = 'notify' AND state IN ('done', 'failed', 'discarded')")


@dataclass(frozen=True, kw_only=True)
class Undoable:
    """The number of conversations and actions of one kind that can be undone; `waiting`: not sent to Front yet."""

    kind: str
    waiting: bool
    conversations: int
    actions: int


def retry(conn: Connection, task_ids: Sequence[int], *, who: str, accept_size: bool = False) -> list[int]:
    """Make failed tasks due again with their full number of attempts; return the ids of those that were failed.

    A task that records an event of no tenant stays as it is: its body cannot be read, however often it is tried.
    `accept_size`: a file may have another size than its message announced, from now on.
    """
    _lock_conversations_of(conn, task_ids)
    return [task_id for task_id in sorted(task_ids) if _retry(conn, task_id, who, accept_size=accept_size)]


def recover(conn: Connection, task_ids: Sequence[int], *, who: str) -> list[int]:
    """Have notifications sent again that have ended, however they did, under their old ids; return the tasks' ids."""
    _lock_conversations_of(conn, task_ids)
    return [task_id for task_id in sorted(task_ids) if _retry(conn, task_id, who, condition=_ENDED_NOTIFICATION)]


def discard(conn: Connection, task_ids: Sequence[int], *, who: str, reason: str) -> list[int]:
    """Discard failed or waiting tasks, and release actions that waited for them; return the ids of the tasks."""
    _lock_conversations_of(conn, task_ids)
    return [task_id for task_id in sorted(task_ids) if _discard(conn, task_id, who, reason)]


def plan_undo(conn: Connection, tenant_id: int, since: datetime) -> list[Undoable]:
    """Count the actions that an undo would reach now."""
    query = SQL("""
        SELECT a.kind, a.intent_at IS NULL AS waiting, count(*) AS actions,
               count(DISTINCT surviving_conversation(a.tenant_id, a.conversation_id)) AS conversations
        FROM actions a WHERE {} GROUP BY 1, 2 ORDER BY 2, 1
    """).format(_UNDOABLE)
    with conn.cursor(row_factory=class_row(Undoable)) as cur:
        return cur.execute(query, {"tenant": tenant_id, "since": since}).fetchall()


def conversations_to_undo(conn: Connection, tenant_id: int, since: datetime, *, size: int) -> list[str]:
    """Return some of the conversations that an undo would reach.

    After `request_undo` for these, it returns other ones, and none in the end.
    """
    rows = conn.execute(_NEXT_CONVERSATIONS, {"tenant": tenant_id, "since": since, "size": size})
    return [conversation for (conversation,) in rows]


def request_undo(
    conn: Connection, tenant_id: int, conversation_ids: Sequence[str], *, since: datetime, who: str
) -> int:
    """Ask for the undo in these conversations, in a transaction of its own; return the number of actions."""
    lock_conversations(conn, [(tenant_id, conversation) for conversation in conversation_ids])
    query = SQL("""
        UPDATE actions a SET undo_asked_at = now(), undo_asked_by = %(who)s
        WHERE a.event_id = ANY(ARRAY(SELECT id FROM events WHERE tenant_id = %(tenant)s
                                     AND conversation_id = ANY(%(conversations)s)))
          AND {} RETURNING a.event_id
    """).format(_UNDOABLE)
    values = {"tenant": tenant_id, "since": since, "who": who, "conversations": list(conversation_ids)}
    asked = [event_id for (event_id,) in conn.execute(query, values)]
    _make_waiting_actions_due(conn, asked)
    started = [event_id for (event_id,) in conn.execute(_START_UNDOS, {"tenant": tenant_id, "asked": asked})]
    for event_id in asked:
        settling.add_journal_entry(
            conn, event_id, "undo asked", who=who, detail=f"of everything since {since:%Y-%m-%d %H:%M:%S %Z}"
        )
    for event_id in started:
        settling.update_event_state(conn, event_id)
    return len(asked)


def _retry(conn: Connection, task_id: int, who: str, *, accept_size: bool = False, condition: SQL = _RETRYABLE) -> bool:
    query = SQL("""
        UPDATE tasks SET state = 'ready', due_at = now(), attempts = 0, sends = 0, code = NULL, detail = NULL,
               settled_at = NULL
        WHERE id = %s AND {} RETURNING event_id
    """)
    changed = conn.execute(query.format(condition), (task_id,)).fetchone()
    if changed is None:
        return False
    conn.execute("UPDATE attempts SET outcome = 'lost' WHERE task_id = %s AND outcome IS NULL", (task_id,))
    if changed[0] is None:  # a notification about no event
        return True
    event_id = int(changed[0])
    _set_attachment_state(conn, task_id, "waiting")
    conn.execute(
        """
        UPDATE actions SET state = CASE WHEN intent_at IS NULL THEN 'planned' ELSE 'intent' END, settled_at = NULL
        WHERE state = 'failed' AND event_id = (SELECT event_id FROM tasks WHERE id = %s AND kind = 'apply_action')
        """,
        (task_id,),
    )
    settling.update_event_state(conn, event_id)
    announced = _accept_any_size(conn, task_id) if accept_size else None
    accepted = "" if announced is None else f": any size is accepted in place of {announced} bytes"
    settling.add_journal_entry(conn, event_id, "task_retried", who=who, detail=f"task {task_id}{accepted}")
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
    if changed[0] is None:  # a notification about no event
        return True
    event_id = int(changed[0])
    _set_attachment_state(conn, task_id, "discarded")
    conn.execute(
        """
        UPDATE actions SET state = 'discarded', reason = %s, settled_at = now() WHERE state <> 'confirmed'
          AND event_id = (SELECT event_id FROM tasks WHERE id = %s AND kind = 'apply_action')
        """,
        (f"discarded: {reason}", task_id),
    )
    settling.release_actions(conn, *settling.conversation_of(conn, event_id))
    settling.update_event_state(conn, event_id)
    settling.add_journal_entry(conn, event_id, "task_discarded", who=who, detail=f"task {task_id}: {reason}")
    return True


def _lock_conversations_of(conn: Connection, task_ids: Sequence[int]) -> None:
    """Lock the conversations of the tasks."""
    conversations = conn.execute(
        """
        SELECT DISTINCT coalesce(e.tenant_id, 0), coalesce(e.conversation_id, '')
        FROM tasks t JOIN events e ON e.id = t.event_id WHERE t.id = ANY(%s)
        """,
        (list(task_ids),),
    ).fetchall()
    lock_conversations(conn, conversations)


def _set_attachment_state(conn: Connection, task_id: int, state: str) -> None:
    conn.execute(
        "UPDATE attachments SET state = CASE WHEN stored_at IS NULL THEN %s ELSE 'stored' END"
        " WHERE state <> 'stored' AND id = (SELECT attachment_id FROM tasks WHERE id = %s)",
        (state, task_id),
    )


def _accept_any_size(conn: Connection, task_id: int) -> int | None:
    """Forget the size that the message announced for the task's file, and return it."""
    row = conn.execute(
        """
        UPDATE attachments new SET declared_size = NULL FROM attachments old
        WHERE old.id = new.id AND old.declared_size IS NOT NULL
          AND new.id = (SELECT attachment_id FROM tasks WHERE id = %s)
        RETURNING old.declared_size
        """,
        (task_id,),
    ).fetchone()
    return int(row[0]) if row else None


def _make_waiting_actions_due(conn: Connection, event_ids: Sequence[int]) -> None:
    """Make the waiting actions of these events due: their workers will end them."""
    conn.execute(
        """
        UPDATE tasks t SET due_at = now() FROM actions a
        WHERE a.event_id = ANY(%s) AND a.state = 'planned' AND t.event_id = a.event_id AND t.kind = 'apply_action'
          AND t.state = 'ready' AND t.due_at > now()
        """,
        (event_ids,),
    )
