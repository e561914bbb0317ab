"""The action of an event: what our rows know about it, and how far it got."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg.rows import class_row, dict_row
from psycopg.sql import SQL

from shared.actions import ActionFacts, UndoFacts
from shared.db.core.pool import Connection
from shared.db.tasks.leases import check_held
from shared.models import Task

# What else was recorded of the conversation, where anything was. A later event is one emitted later, or at the same
# moment and recorded later. Undos are looked up by event, hence the OFFSET: a tenant may have very many open ones.
_BESIDE = """
WITH own AS (
    SELECT *, conversation_family_array(tenant_id, conversation_id) AS family FROM actions WHERE event_id = %(event)s
), later AS (
    SELECT e.id, e.front_id, e.type, e.source, a.kind, a.state, a.dry_run
    FROM own JOIN events e ON e.tenant_id = own.tenant_id AND e.conversation_id = ANY(own.family)
        AND e.emitted_at >= own.emitted_at AND (e.emitted_at, e.id) > (own.emitted_at, own.event_id)
        AND e.id <> own.event_id
    LEFT JOIN actions a ON a.event_id = e.id
), open_tasks AS (
    SELECT t.event_id, t.due_at FROM own
    JOIN actions a ON a.tenant_id = own.tenant_id AND a.conversation_id = ANY(own.family)
    JOIN tasks t ON t.event_id = a.event_id AND t.kind = 'apply_action'
    WHERE a.state IN ('planned', 'intent') AND t.state IN ('ready', 'queued', 'running') AND t.due_at < 'infinity'
    UNION ALL
    SELECT t.event_id, t.due_at FROM own
    JOIN events e ON e.tenant_id = own.tenant_id AND e.conversation_id = ANY(own.family)
    CROSS JOIN LATERAL (SELECT event_id, due_at FROM tasks WHERE event_id = e.id AND kind = 'undo_action'
                        AND state IN ('ready', 'queued', 'running') OFFSET 0) t
), open_before AS (
    SELECT e.front_id, extract(epoch FROM t.due_at - now())::float8 AS due_seconds
    FROM own CROSS JOIN open_tasks t JOIN actions a ON a.event_id = t.event_id JOIN events e ON e.id = t.event_id
    WHERE (a.emitted_at, a.event_id) < (own.emitted_at, own.event_id)
    ORDER BY a.emitted_at DESC LIMIT 1
)
SELECT
    (SELECT front_id FROM later WHERE type = ANY(%(changes)s) AND NOT coalesce(source, '') = ANY(%(api)s) LIMIT 1)
        AS change,
    (SELECT front_id FROM later WHERE later.kind = own.kind AND later.dry_run = own.dry_run
     AND later.state IN ('planned', 'intent') ORDER BY id DESC LIMIT 1)
        AS equal_newer,
    (SELECT front_id FROM later WHERE type = 'inbound_received'
     AND coalesce(later.state, '') NOT IN ('planned', 'intent') LIMIT 1) AS newer_message,
    (SELECT front_id FROM open_before) AS earlier_open,
    coalesce((SELECT due_seconds FROM open_before), 0) AS earlier_due_seconds
FROM own
"""
_HELD = """
SELECT held, alone, event_id, survivor AS conversation_id, kind, wait_for, state, emitted_at, intent_at, age_seconds,
       dry_run, undo_asked, waiting, failed, discarded
FROM lock_action(%s, %s, %s, %s, %s)
"""

# Archive and trash are one thing, the status; each tag is one of its own.
THING = SQL("CASE WHEN {action}.kind IN ('archive', 'trash') THEN 'status' ELSE {action}.kind END")

_FACTS = SQL("""
WITH own AS (SELECT * FROM actions WHERE event_id = %(event)s),
family AS (SELECT conversation_family(own.tenant_id, own.conversation_id) AS id FROM own),
ours AS (
    SELECT a.*, e.front_id, EXISTS (SELECT FROM tasks t WHERE t.event_id = a.event_id AND t.kind = 'undo_action'
                                    AND t.state IN ('ready', 'queued', 'running')) AS undoing
    FROM own JOIN events e ON e.tenant_id = own.tenant_id AND e.conversation_id = ANY(ARRAY(SELECT id FROM family))
    JOIN actions a ON a.event_id = e.id AND {a_thing} = {own_thing}
), sent AS (
    SELECT * FROM ours WHERE undo_asked_at IS NOT NULL AND state IN ('confirmed', 'failed') AND intent_at IS NOT NULL
    ORDER BY intent_at DESC LIMIT 1
)
SELECT own.event_id, surviving_conversation(own.tenant_id, own.conversation_id) AS conversation_id,
       coalesce(sent.kind, own.kind) AS kind, coalesce(sent.emitted_at, own.emitted_at) AS emitted_at,
       sent.intent_at AS sent_at, own.undo_intent_at AS intent_at,
       (SELECT front_id FROM ours WHERE undo_asked_at IS NOT NULL AND state = 'intent' LIMIT 1) AS unsettled,
       (SELECT front_id FROM ours WHERE undoing AND (emitted_at, event_id) > (own.emitted_at, own.event_id)
        ORDER BY event_id DESC LIMIT 1) AS newer_undo,
       (SELECT front_id FROM ours WHERE undo_asked_at IS NULL AND state IN ('intent', 'confirmed')
        AND intent_at > sent.intent_at LIMIT 1) AS sent_again,
       (SELECT e.front_id FROM events e
        WHERE e.tenant_id = own.tenant_id AND e.conversation_id = ANY(ARRAY(SELECT id FROM family))
          AND {own_thing} = 'status' AND e.type = ANY(%(changes)s) AND NOT coalesce(e.source, '') = ANY(%(api)s)
          AND e.emitted_at > sent.intent_at LIMIT 1) AS change
FROM own LEFT JOIN sent ON true
""").format(a_thing=THING.format(action=SQL("a")), own_thing=THING.format(action=SQL("own")))


def hold(conn: Connection, task: Task, *, changes: Sequence[str], api_sources: Iterable[str]) -> ActionFacts:
    """The action of the task's event, with task and conversation held until the transaction ends, as `tasks.hold` does.

    `changes` are the types of events by which somebody changes a conversation, but for those from `api_sources`.
    Raises Fenced unless this attempt owns the task, LookupError when its event has no action.
    """
    with conn.cursor(row_factory=dict_row) as cur:
        own = cur.execute(
            _HELD, (task.tenant_id, task.conversation_id, task.id, task.lease_epoch, task.event_id)
        ).fetchone()
        assert own is not None  # noqa: S101 -- a function of one row
        check_held(own.pop("held"))
        if own["event_id"] is None:
            raise LookupError(f"event {task.event_id} has no action")
        values = {"event": task.event_id, "changes": list(changes), "api": list(api_sources)}
        beside = None if own.pop("alone") else cur.execute(_BESIDE, values).fetchone()
    return ActionFacts(**own, **(beside or {}))


def intend(conn: Connection, event_id: int) -> None:
    """Write down that the change is about to be sent. Only the commit of this makes sending it safe."""
    conn.execute("UPDATE actions SET state = 'intent', intent_at = now() WHERE event_id = %s", (event_id,))


def unintend(conn: Connection, event_id: int) -> None:
    """Take the intent back: nothing was sent, or Front refused it for certain."""
    conn.execute("UPDATE actions SET state = 'planned', intent_at = NULL WHERE event_id = %s", (event_id,))


def settle(conn: Connection, event_id: int, state: str, reason: str) -> None:
    """End the action."""
    conn.execute("SELECT settle_action(%s, %s, %s)", (event_id, state, reason))


def explain(conn: Connection, event_id: int, reason: str) -> None:
    """Say why the action waits."""
    conn.execute("UPDATE actions SET reason = %s WHERE event_id = %s", (reason, event_id))


def undo_facts(conn: Connection, event_id: int, *, changes: Sequence[str], api_sources: frozenset[str]) -> UndoFacts:
    """What our rows say of the undo that is a task of this event; call with the conversation locked."""
    values = {"event": event_id, "changes": list(changes), "api": list(api_sources)}
    with conn.cursor(row_factory=class_row(UndoFacts)) as cur:
        found = cur.execute(_FACTS, values).fetchone()
    if found is None:
        raise LookupError(f"event {event_id} has no action")
    return found


def intend_undo(conn: Connection, event_id: int) -> None:
    """Write down that the undo is about to be sent. Only the commit of this makes sending it safe."""
    conn.execute("UPDATE actions SET undo_intent_at = now() WHERE event_id = %s", (event_id,))


def unintend_undo(conn: Connection, event_id: int) -> None:
    """Take the intent back: nothing was sent, or Front refused it for certain."""
    conn.execute("UPDATE actions SET undo_intent_at = NULL WHERE event_id = %s", (event_id,))


_UNDONE = SQL("""
UPDATE actions a SET state = 'undone', undone_at = now(), reason = 'undone: asked for by ' || a.undo_asked_by
FROM events e, actions own
WHERE own.event_id = %(event)s AND e.tenant_id = own.tenant_id AND a.event_id = e.id
  AND e.conversation_id = ANY(ARRAY(SELECT conversation_family(own.tenant_id, own.conversation_id)))
  AND {a_thing} = {own_thing} AND a.undo_asked_at IS NOT NULL
  AND a.state IN ('confirmed', 'failed') AND a.intent_at IS NOT NULL
""").format(a_thing=THING.format(action=SQL("a")), own_thing=THING.format(action=SQL("own")))


def undone(conn: Connection, event_id: int) -> None:
    """All that was asked for of this event's conversation and kind is undone."""
    conn.execute(_UNDONE, {"event": event_id})
