"""An event's work done again: by a person's wish, or because its message was recorded or fetched anew.

The rows of the event stay the same: a task is due again with its full number of attempts, and a file keeps its stored
copy until there is a new one. An action that Front has, or may have, is never planned anew. The caller has locked the
event's conversation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.sql import SQL

from shared.db.core.locks import lock_conversations
from shared.db.tasks import settling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.db.core.pool import Connection
    from shared.db.recording.rows import ActionRow

#: An action that may be planned anew: Front has nothing of it, and nobody asked for its undo.
_CHANGEABLE = SQL("intent_at IS NULL AND undo_asked_at IS NULL AND state NOT IN ('intent', 'confirmed', 'undone')")
_RESET = SQL("""
    state = 'ready', lease_until = NULL, attempts = 0, sends = 0, code = NULL, detail = NULL, settled_at = NULL,
    due_at = CASE WHEN %(waits)s THEN 'infinity'::timestamptz ELSE now() END
""")


def lock_event(conn: Connection, event_id: int) -> None:
    """Lock the event's conversation and its tasks until the transaction ends: no worker claims one meanwhile.

    Raises LookupError when the event was deleted.
    """
    lock_conversations(conn, [settling.conversation_of(conn, event_id)])
    conn.execute("SELECT FROM tasks WHERE event_id = %s ORDER BY id FOR UPDATE", (event_id,))


def rerun_tasks(conn: Connection, event_id: int, kind: str, *, file: str | None = None) -> list[int]:
    """Make the event's tasks of this kind due again, and return their ids; one that runs is left alone.

    `file` is Front's id of the only file whose task is meant.
    """
    rows = conn.execute(
        SQL("""
        UPDATE tasks t SET {}
        WHERE t.event_id = %(event)s AND t.kind = %(kind)s AND t.tenant_id IS NOT NULL AND t.state <> 'running'
          AND (%(file)s::text IS NULL OR t.attachment_id IN (
              SELECT id FROM attachments WHERE event_id = %(event)s AND front_id = %(file)s))
        RETURNING t.id
        """).format(_RESET),
        {"event": event_id, "kind": kind, "file": file, "waits": False},
    ).fetchall()
    task_ids = [task_id for (task_id,) in rows]
    _end_lost_attempts(conn, task_ids)
    conn.execute(
        "UPDATE attachments SET state = 'waiting'"
        " WHERE id IN (SELECT attachment_id FROM tasks WHERE id = ANY(%s) AND attachment_id IS NOT NULL)",
        (task_ids,),
    )
    return task_ids


def record_again(conn: Connection, event_id: int) -> None:
    """Have the event's stored body recorded again: its task is new, or due again."""
    if not rerun_tasks(conn, event_id, "record"):
        conn.execute(
            "INSERT INTO tasks (tenant_id, event_id, kind, state) SELECT tenant_id, id, 'record', 'ready'"
            " FROM events WHERE id = %s",
            (event_id,),
        )


def rerun_action(conn: Connection, event_id: int, *, waits: bool) -> bool:
    """Have the action decided again, at once or, if it `waits`, when a file of its conversation is stored.

    An action that Front may have is looked up there first. Returns False, and changes nothing, for one that is
    confirmed or was never planned.
    """
    changed = conn.execute(
        """
        UPDATE actions SET state = CASE WHEN intent_at IS NULL THEN 'planned' ELSE 'intent' END, settled_at = NULL,
               reason = 'run again: somebody asked for it'
        WHERE event_id = %(event)s AND state NOT IN ('confirmed', 'undone') AND undo_asked_at IS NULL
          AND EXISTS (SELECT FROM tasks WHERE event_id = %(event)s AND kind = 'apply_action')
        """,
        {"event": event_id},
    )
    if changed.rowcount == 0:
        return False
    _reset_action_task(conn, event_id, waits=waits)
    return True


def replace_action(conn: Connection, planned: ActionRow, *, waits: bool) -> bool:
    """Put the newly planned action in the place of the event's own one; its task waits or ends as the plan says.

    Returns False, and changes nothing, when the event has no action yet, or one that Front has or may have, or whose
    undo was asked for. An attempt that is deciding about the old plan is fenced: it has sent nothing.
    """
    changed = conn.execute(
        SQL("""
        UPDATE actions SET kind = %(kind)s, wait_for = %(wait_for)s, dry_run = %(dry_run)s, state = %(state)s,
               reason = %(reason)s, planned_at = now(), settled_at = NULL
        WHERE event_id = %(event)s AND {}
        """).format(_CHANGEABLE),
        {**planned._asdict(), "event": planned.event_id},
    )
    if changed.rowcount == 0:
        return False
    if planned.state == "planned":
        if not _reset_action_task(conn, planned.event_id, waits=waits):
            _insert_action_task(conn, planned, waits=waits)
    else:
        _skip_action_task(conn, planned.event_id)
    return True


def has_action(conn: Connection, event_id: int) -> bool:
    """Whether the event has an action, in whatever state."""
    return conn.execute("SELECT FROM actions WHERE event_id = %s", (event_id,)).rowcount == 1


def change_action(conn: Connection, event_id: int, kind: str, *, was: str) -> bool:
    """Have the action change the conversation in another way, and make its task due; with `none` it ends as skipped.

    Returns False, and changes nothing, when the action is of another kind than `was`, or Front has it or may have it.
    """
    ends = kind == "none"
    changed = conn.execute(
        SQL("""
        UPDATE actions SET kind = %(kind)s, state = %(state)s, reason = %(reason)s,
               settled_at = CASE WHEN %(ends)s THEN now() END
        WHERE event_id = %(event)s AND kind = %(was)s AND {}
        """).format(_CHANGEABLE),
        {
            "event": event_id,
            "kind": kind,
            "was": was,
            "ends": ends,
            "state": "skipped" if ends else "planned",
            "reason": f"no_action: somebody chose none instead of {was}" if ends else f"chosen instead of {was}",
        },
    )
    if changed.rowcount == 0:
        return False
    if ends:
        _skip_action_task(conn, event_id)
    else:
        _reset_action_task(conn, event_id, waits=False)
    return True


def known_files(conn: Connection, event_id: int) -> set[str]:
    """Return Front's ids of the files that the event has."""
    rows = conn.execute("SELECT front_id FROM attachments WHERE event_id = %s", (event_id,))
    return {front_id for (front_id,) in rows}


def _reset_action_task(conn: Connection, event_id: int, *, waits: bool) -> bool:
    query = SQL("UPDATE tasks SET {} WHERE event_id = %(event)s AND kind = 'apply_action' RETURNING id").format(_RESET)
    task_ids = [task_id for (task_id,) in conn.execute(query, {"event": event_id, "waits": waits})]
    _end_lost_attempts(conn, task_ids)
    return bool(task_ids)


def _insert_action_task(conn: Connection, planned: ActionRow, *, waits: bool) -> None:
    conn.execute(
        "INSERT INTO tasks (tenant_id, event_id, kind, state, due_at)"
        " VALUES (%s, %s, 'apply_action', 'ready', CASE WHEN %s THEN 'infinity'::timestamptz ELSE now() END)",
        (planned.tenant_id, planned.event_id, waits),
    )


def _skip_action_task(conn: Connection, event_id: int) -> None:
    rows = conn.execute(
        "UPDATE tasks SET state = 'skipped', lease_until = NULL, code = NULL, detail = NULL, settled_at = now()"
        " WHERE event_id = %s AND kind = 'apply_action' RETURNING id",
        (event_id,),
    )
    _end_lost_attempts(conn, [task_id for (task_id,) in rows])


def _end_lost_attempts(conn: Connection, task_ids: Sequence[int]) -> None:
    """Say of attempts that never came back that they are lost: nobody waits for them any more."""
    conn.execute("UPDATE attempts SET outcome = 'lost' WHERE task_id = ANY(%s) AND outcome IS NULL", (list(task_ids),))
