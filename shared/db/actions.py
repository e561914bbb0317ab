"""The action of an event: what our rows know about it, and how far it got."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, dict_row

from shared.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class Action:
    """An action as it stands; `age_seconds` since Front emitted its event, by the database's clock.

    `survivor`: the conversation's id at Front, another one when it was merged.
    """

    event_id: int
    tenant_id: int
    conversation_id: str
    survivor: str
    kind: str
    wait_for: str
    state: str
    emitted_at: datetime
    intent_at: datetime | None
    age_seconds: float
    dry_run: bool
    undo_asked: bool


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """What else our rows know about the conversation since the action's event; each names Front's event, or is None.

    `earlier_due_seconds`: until the earlier one is tried again.
    """

    change: str | None = None
    equal_newer: str | None = None
    newer_message: str | None = None
    earlier_open: str | None = None
    earlier_due_seconds: float = 0.0


def get(conn: Connection, event_id: int) -> Action:
    """The event's action. Raises LookupError when it has none."""
    with conn.cursor(row_factory=class_row(Action)) as cur:
        action = cur.execute(
            """
            SELECT event_id, tenant_id, conversation_id, kind, wait_for, state, emitted_at, intent_at, dry_run,
                   undo_asked_at IS NOT NULL AS undo_asked,
                   surviving_conversation(tenant_id, conversation_id) AS survivor,
                   extract(epoch FROM now() - emitted_at)::float8 AS age_seconds
            FROM actions WHERE event_id = %s
            """,
            (event_id,),
        ).fetchone()
    if action is None:
        raise LookupError(f"event {event_id} has no action")
    return action


def rivals(conn: Connection, action: Action, *, changes: tuple[str, ...], api_sources: frozenset[str]) -> Rivals:
    """Look for what may overrule or precede the action; call with the conversation locked."""
    parameters: dict[str, Any] = {
        "tenant": action.tenant_id,
        "conversation": action.conversation_id,
        "event": action.event_id,
        "at": action.emitted_at,
        "kind": action.kind,
        "dry_run": action.dry_run,
        "changes": list(changes),
        "api": list(api_sources),
    }
    with conn.cursor(row_factory=dict_row) as cur:
        row = cur.execute(RIVALS, parameters).fetchone()
    return Rivals(**row) if row else Rivals()


# A later event is one emitted later, or at the same moment and recorded later. Undos are looked up by event, hence the
# OFFSET: a tenant may have very many open ones.
RIVALS = """
WITH family AS (SELECT conversation_family(%(tenant)s, %(conversation)s) AS id), later AS (
    SELECT e.id, e.front_id, e.type, e.source, a.kind, a.state, a.dry_run
    FROM events e LEFT JOIN actions a ON a.event_id = e.id
    WHERE e.tenant_id = %(tenant)s AND e.conversation_id = ANY(ARRAY(SELECT id FROM family))
      AND e.emitted_at >= %(at)s AND (e.emitted_at, e.id) > (%(at)s, %(event)s) AND e.id <> %(event)s
), open_tasks AS (
    SELECT t.event_id, t.due_at FROM actions a
    JOIN tasks t ON t.event_id = a.event_id AND t.kind = 'apply_action'
    WHERE a.tenant_id = %(tenant)s AND a.conversation_id = ANY(ARRAY(SELECT id FROM family))
      AND a.state IN ('planned', 'intent') AND t.state IN ('ready', 'queued', 'running') AND t.due_at < 'infinity'
    UNION ALL
    SELECT t.event_id, t.due_at FROM events e
    CROSS JOIN LATERAL (SELECT event_id, due_at FROM tasks WHERE event_id = e.id AND kind = 'undo_action'
                        AND state IN ('ready', 'queued', 'running') OFFSET 0) t
    WHERE e.tenant_id = %(tenant)s AND e.conversation_id = ANY(ARRAY(SELECT id FROM family))
), open_before AS (
    SELECT e.front_id, extract(epoch FROM t.due_at - now())::float8 AS due_seconds
    FROM open_tasks t JOIN actions a USING (event_id) JOIN events e ON e.id = t.event_id
    WHERE (a.emitted_at, a.event_id) < (%(at)s, %(event)s)
    ORDER BY a.emitted_at DESC LIMIT 1
)
SELECT
    (SELECT front_id FROM later WHERE type = ANY(%(changes)s) AND NOT coalesce(source, '') = ANY(%(api)s) LIMIT 1)
        AS change,
    (SELECT front_id FROM later WHERE kind = %(kind)s AND dry_run = %(dry_run)s AND state IN ('planned', 'intent')
     ORDER BY id DESC LIMIT 1)
        AS equal_newer,
    (SELECT front_id FROM later WHERE type = 'inbound_received' AND coalesce(state, '') NOT IN ('planned', 'intent')
     LIMIT 1) AS newer_message,
    (SELECT front_id FROM open_before) AS earlier_open,
    coalesce((SELECT due_seconds FROM open_before), 0) AS earlier_due_seconds
"""


def intend(conn: Connection, event_id: int) -> None:
    """Write down that the change is about to be sent. Only the commit of this makes sending it safe."""
    conn.execute("UPDATE actions SET state = 'intent', intent_at = now() WHERE event_id = %s", (event_id,))


def unintend(conn: Connection, event_id: int) -> None:
    """Take the intent back: nothing was sent, or Front refused it for certain."""
    conn.execute("UPDATE actions SET state = 'planned', intent_at = NULL WHERE event_id = %s", (event_id,))


def settle(conn: Connection, event_id: int, state: str, reason: str) -> None:
    """End the action."""
    conn.execute(
        "UPDATE actions SET state = %s, reason = %s, settled_at = now() WHERE event_id = %s", (state, reason, event_id)
    )


def explain(conn: Connection, event_id: int, reason: str) -> None:
    """Say why the action waits."""
    conn.execute("UPDATE actions SET reason = %s WHERE event_id = %s", (reason, event_id))
