"""The undo of an action, as its worker needs it: what our rows know about it, and how far it got."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import class_row
from psycopg.sql import SQL

from shared.db.pool import Connection
from shared.undo import UndoFacts

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


def facts(conn: Connection, event_id: int, *, changes: Sequence[str], api_sources: frozenset[str]) -> UndoFacts:
    """What our rows say of the undo that is a task of this event; call with the conversation locked."""
    values = {"event": event_id, "changes": list(changes), "api": list(api_sources)}
    with conn.cursor(row_factory=class_row(UndoFacts)) as cur:
        found = cur.execute(_FACTS, values).fetchone()
    if found is None:
        raise LookupError(f"event {event_id} has no action")
    return found


def intend(conn: Connection, event_id: int) -> None:
    """Write down that the undo is about to be sent. Only the commit of this makes sending it safe."""
    conn.execute("UPDATE actions SET undo_intent_at = now() WHERE event_id = %s", (event_id,))


def unintend(conn: Connection, event_id: int) -> None:
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
