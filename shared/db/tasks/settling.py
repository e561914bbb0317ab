"""Settles the end of an attempt: its own row, the event's state, the event's journal, and the actions it releases.

The functions run in the transaction that ends the task, after `lock_conversation`. So two files that are stored at the
same moment take turns, and the second one sees the first. A conversation includes all that Front merged with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from shared.actions import HostNotices, UnstoredFiles, wait_reason, waits_for_host
from shared.db.core.pool import Connection
from shared.db.tasks.leases import check_owned
from shared.models import Call, Task

_WAITING_ACTIONS: Final = """
SELECT t.id, a.kind, a.wait_for, a.event_id, a.act_after FROM actions a
JOIN tasks t ON t.event_id = a.event_id AND t.kind = 'apply_action'
WHERE a.tenant_id = %(tenant)s AND a.state IN ('planned', 'intent')
  AND a.conversation_id = ANY(conversation_family_array(%(tenant)s, %(conversation)s))
  AND t.state = 'ready' AND t.due_at = 'infinity'
"""
_END_ATTEMPT: Final = f"""
SELECT end_attempt(%(task)s, %(epoch)s, %(event)s, %(tenant)s, %(outcome)s, %(code)s, %(detail)s, %(calls)s,
                   %(answered)s),
    waiting.*
FROM (SELECT) AS once LEFT JOIN ({_WAITING_ACTIONS}) waiting ON true
"""  # noqa: S608 -- put together from our own statements


class _WaitingAction(NamedTuple):
    task_id: int
    kind: str
    wait_for: str
    event_id: int
    act_after: str


def update_event_state(conn: Connection, event_id: int) -> None:
    """Derive the event's state from its tasks: failed if any failed, else processing if any is open, else done."""
    conn.execute("SELECT update_event_state(%s)", (event_id,))


def end_with_action(  # noqa: PLR0913 -- the columns of three rows, and the calls of the attempt
    conn: Connection,
    task: Task,
    *,
    state: str,
    action_state: str,
    reason: str,
    calls: list[Call],
    answered: bool,
) -> bool:
    """End an action, its task and its attempt in one statement; return whether the tenant has work due.

    It does the work of `leases.lock`, `actions.settle`, `leases.finish` and `end_attempt`. It releases no action,
    because actions wait for files and notifications only. It needs no transaction. Raises Fenced when this attempt no
    longer owns the task.
    """
    row = conn.execute(
        "SELECT end_with_action(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            task.tenant_id,
            task.conversation_id,
            task.id,
            task.lease_epoch,
            task.event_id,
            state,
            action_state,
            reason,
            _calls_json(calls),
            answered,
        ),
    ).fetchone()
    check_owned(row and row[0] is not None)
    return bool(row and row[0])


def end_attempt(  # noqa: PLR0913 -- the columns of one row, and the calls of the attempt
    conn: Connection,
    task: Task,
    *,
    outcome: str,
    code: str | None,
    detail: str | None,
    calls: list[Call],
    answered: bool,
) -> bool:
    """End the attempt after its task's row was updated; return whether the tenant has work due.

    Writes the attempt's outcome and its calls to Front, derives the event's state, and releases actions. When Front
    `answered` a call, all unanswered tasks are forgotten.
    """
    rows = conn.execute(
        _END_ATTEMPT,
        {
            "event": task.event_id,
            "tenant": task.tenant_id,
            "conversation": task.conversation_id,
            "task": task.id,
            "epoch": task.lease_epoch,
            "outcome": outcome,
            "code": code,
            "detail": detail,
            "calls": _calls_json(calls),
            "answered": answered,
        },
    ).fetchall()
    waiting = [_WaitingAction(*action) for _, *action in rows if action[0] is not None]
    released = _release(conn, task.tenant_id, task.conversation_id, waiting)
    return bool(rows[0][0] or released)


def conversation_of(conn: Connection, event_id: int) -> tuple[int, str]:
    """Return the event's tenant and conversation, which must be locked before anything of the event is settled.

    Raises LookupError when the event was deleted.
    """
    row = conn.execute(
        "SELECT coalesce(tenant_id, 0), coalesce(conversation_id, '') FROM events WHERE id = %s", (event_id,)
    ).fetchone()
    if row is None:
        raise LookupError(f"event {event_id} is gone")
    return row[0], row[1]


def release_actions(conn: Connection, tenant_id: int, conversation_id: str) -> int:
    """Make the waiting actions of the conversation due that nothing blocks any more; return their number."""
    rows = conn.execute(_WAITING_ACTIONS, {"tenant": tenant_id, "conversation": conversation_id}).fetchall()
    waiting = [_WaitingAction(*action) for action in rows]
    return _release(conn, tenant_id, conversation_id, waiting)


def add_journal_entry(conn: Connection, event_id: int, what: str, *, who: str = "mailroom", detail: str = "") -> None:
    """Add a decision to the event's journal."""
    conn.execute(
        "INSERT INTO journal (event_id, what, who, detail) VALUES (%s, %s, %s, %s)", (event_id, what, who, detail)
    )


def _release(conn: Connection, tenant_id: int, conversation_id: str, waiting: Sequence[_WaitingAction]) -> int:
    """Release those of the waiting actions that nothing blocks, and return their number.

    An action of a backlog keeps its place in it: before the files of newer mail.
    """
    if not waiting:
        return 0
    unstored = _unstored_files(conn, tenant_id, conversation_id)
    free = [action.task_id for action in waiting if _wait_reason(conn, action, unstored) is None]
    conn.execute(
        """
        UPDATE tasks
        SET due_at = CASE WHEN is_live AND created_at > now() - interval '1 minute' THEN now() ELSE created_at END
        WHERE id = ANY(%s) AND state = 'ready'
        """,
        (free,),
    )
    return len(free)


def _wait_reason(conn: Connection, action: _WaitingAction, unstored: UnstoredFiles) -> str | None:
    """Return why the action still waits, or None. People see the reason of one that waits for the host application."""
    host = _host_notices(conn, action)
    reason = wait_reason(action.kind, action.wait_for, unstored, host)
    if reason and host:
        conn.execute("UPDATE actions SET reason = %s WHERE event_id = %s", (reason, action.event_id))
    return reason


def _host_notices(conn: Connection, action: _WaitingAction) -> HostNotices | None:
    """Count what the host application was told of the action's event, where the action waits for that."""
    if not waits_for_host(action.kind, action.act_after):
        return None
    with conn.cursor(row_factory=class_row(HostNotices)) as cur:
        query = "SELECT notified, to_notify, not_notified FROM host_notices(%s)"
        return cur.execute(query, (action.event_id,)).fetchone()


def _unstored_files(conn: Connection, tenant_id: int, conversation_id: str) -> UnstoredFiles:
    """Count the conversation's files that wait, failed or were discarded. A message not read yet counts as a file."""
    with conn.cursor(row_factory=class_row(UnstoredFiles)) as cur:
        counts = cur.execute(
            "SELECT waiting, failed, discarded FROM unstored_files(%s, %s)", (tenant_id, conversation_id)
        ).fetchone()
    assert counts is not None  # noqa: S101 -- an aggregate gives one row
    return counts


def _calls_json(calls: Sequence[Call]) -> Jsonb:
    return Jsonb([_call_json(call) for call in calls])


def _call_json(call: Call) -> dict[str, object]:
    return {
        "method": call.method,
        "path": call.path,
        "status": call.status,
        "ms": call.milliseconds,
        "budget_left": call.budget_left,
    }
