"""What follows when a task of a conversation ends: released actions and the event's state.

Everything here runs with the conversation locked (`lock_conversation`), in the transaction that ends the task: two
files that are stored at the same moment take turns, and the second one sees the first. A conversation is always all
that Front merged with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from psycopg.types.json import Jsonb

from shared.actions import UnstoredFiles, wait_reason
from shared.db.core.pool import Connection
from shared.db.tasks.leases import check_held
from shared.models import Call, Task

_WAITING: Final = """
SELECT t.id, a.kind, a.wait_for FROM actions a
JOIN tasks t ON t.event_id = a.event_id AND t.kind = 'apply_action'
WHERE a.tenant_id = %(tenant)s AND a.state IN ('planned', 'intent')
  AND a.conversation_id = ANY(conversation_family_array(%(tenant)s, %(conversation)s))
  AND t.state = 'ready' AND t.due_at = 'infinity'
"""
_WRAP_UP: Final = f"""
SELECT end_attempt(%(task)s, %(epoch)s, %(event)s, %(tenant)s, %(outcome)s, %(code)s, %(detail)s, %(calls)s,
                   %(answered)s),
    waiting.*
FROM (SELECT) AS once LEFT JOIN ({_WAITING}) waiting ON true
"""  # noqa: S608 -- put together from our own statements


def update_event(conn: Connection, event_id: int) -> None:
    """Derive the event's state from its tasks: any failed, else any open, else done."""
    conn.execute("SELECT update_event_state(%s)", (event_id,))


def end_with_action(  # noqa: PLR0913 -- three rows' columns, and what the attempt showed
    conn: Connection,
    task: Task,
    *,
    state: str,
    action_state: str,
    reason: str,
    calls: list[Call],
    answered: bool,
) -> bool:
    """End an action, its task and its attempt, all at once; whether the tenant has work due. Needs no transaction.

    As `tasks.hold`, `actions.settle`, `tasks.finish` and `wrap_up` would, but that nothing is released: what waits in
    the conversation waits for files. Raises Fenced when this attempt no longer holds the task.
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
            _calls(calls),
            answered,
        ),
    ).fetchone()
    check_held(row and row[0] is not None)
    return bool(row and row[0])


def wrap_up(  # noqa: PLR0913 -- one row's columns, and what the attempt showed
    conn: Connection,
    task: Task,
    *,
    outcome: str,
    code: str | None,
    detail: str | None,
    calls: list[Call],
    answered: bool,
) -> bool:
    """What follows the end of an attempt, once its task's row says where it stands; whether its tenant has work due.

    Writes how the attempt ended and what it asked of Front, derives the event's state, releases actions, and forgets
    who was left unanswered when Front `answered` somebody.
    """
    rows = conn.execute(
        _WRAP_UP,
        {
            "event": task.event_id,
            "tenant": task.tenant_id,
            "conversation": task.conversation_id,
            "task": task.id,
            "epoch": task.lease_epoch,
            "outcome": outcome,
            "code": code,
            "detail": detail,
            "calls": _calls(calls),
            "answered": answered,
        },
    ).fetchall()
    waiting = [(task_id, kind, wait_for) for _, task_id, kind, wait_for in rows if task_id is not None]
    released = _release(conn, task.tenant_id, task.conversation_id, waiting)
    return bool(rows[0][0] or released)


def conversation_of(conn: Connection, event_id: int) -> tuple[int, str]:
    """What to lock before anything of this event is settled: its tenant and conversation."""
    row = conn.execute(
        "SELECT coalesce(tenant_id, 0), coalesce(conversation_id, '') FROM events WHERE id = %s", (event_id,)
    ).fetchone()
    if row is None:
        raise LookupError(f"event {event_id} is gone")
    return row[0], row[1]


def unstored(conn: Connection, tenant_id: int, conversation_id: str) -> UnstoredFiles:
    """How many files of the conversation wait, failed, were discarded; an unread message counts like a file."""
    row = conn.execute(
        "SELECT waiting, failed, discarded FROM unstored_files(%s, %s)", (tenant_id, conversation_id)
    ).fetchone()
    assert row is not None  # noqa: S101 -- an aggregate gives one row
    return UnstoredFiles(waiting=row[0], failed=row[1], discarded=row[2])


def release(conn: Connection, tenant_id: int, conversation_id: str) -> int:
    """Make due the waiting actions that nothing blocks any more; how many."""
    waiting = conn.execute(_WAITING, {"tenant": tenant_id, "conversation": conversation_id}).fetchall()
    return _release(conn, tenant_id, conversation_id, waiting)


def _release(conn: Connection, tenant_id: int, conversation_id: str, waiting: Sequence[tuple[int, str, str]]) -> int:
    """Of these, as (task id, kind, wait_for)."""
    if not waiting:
        return 0
    missing = unstored(conn, tenant_id, conversation_id)
    free = [task_id for task_id, kind, wait_for in waiting if wait_reason(kind, wait_for, missing) is None]
    conn.execute("UPDATE tasks SET due_at = now() WHERE id = ANY(%s) AND state = 'ready'", (free,))
    return len(free)


def note(conn: Connection, event_id: int, what: str, *, who: str = "mailroom", detail: str = "") -> None:
    """Add a decision to the event's journal."""
    conn.execute(
        "INSERT INTO journal (event_id, what, who, detail) VALUES (%s, %s, %s, %s)", (event_id, what, who, detail)
    )


def _calls(calls: Sequence[Call]) -> Jsonb:
    return Jsonb([_call(call) for call in calls])


def _call(call: Call) -> dict[str, object]:
    return {
        "method": call.method,
        "path": call.path,
        "status": call.status,
        "ms": call.milliseconds,
        "budget_left": call.budget_left,
    }
