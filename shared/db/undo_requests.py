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

from shared.db import settling
from shared.db.locks import lock_conversations
from shared.db.pool import Connection
from shared.db.undo import THING

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


@dataclass(frozen=True, kw_only=True)
class Undoable:
    """How many conversations and actions of one kind could be undone; `waiting`: nothing was sent to Front yet."""

    kind: str
    waiting: bool
    conversations: int
    actions: int


def plan(conn: Connection, tenant_id: int, since: datetime) -> list[Undoable]:
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


def ask(conn: Connection, tenant_id: int, named: Sequence[str], *, since: datetime, who: str) -> int:
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
