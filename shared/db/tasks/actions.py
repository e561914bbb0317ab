"""The action of an event and its undo: the facts that decide what happens to it, and its progress.

Also kept here are snapshots of conversations in Front, which save calls to Front when an action is tried again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, dict_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from shared.actions import ActionFacts, Observation, ObservedEvent, Snapshot, UndoFacts
from shared.db.core.pool import Connection
from shared.db.tasks.leases import check_owned
from shared.models import Task

# The facts that other events of the conversation's family add to an action. A later event was emitted later, or at the
# same moment and recorded later. An event of unknown age counts from its arrival. OFFSET 0 has undos looked up by
# event, because a tenant may have very many open ones.
_OTHER_EVENTS = """
WITH own AS (
    SELECT *, conversation_family_array(tenant_id, conversation_id) AS family FROM actions WHERE event_id = %(event)s
), later AS (
    SELECT e.id, e.front_id, e.type, e.source, a.kind, a.state, a.dry_run
    FROM own JOIN events e ON e.tenant_id = own.tenant_id AND e.conversation_id = ANY(own.family)
        AND (coalesce(e.emitted_at, e.received_at), e.id) > (own.emitted_at, own.event_id)
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
_LOCK_ACTION = """
SELECT held, alone, event_id, survivor AS conversation_id, kind, wait_for, state, emitted_at, intent_at, age_seconds,
       dry_run, undo_asked, waiting, failed, discarded, act_after, notified, to_notify, not_notified
FROM lock_action(%s, %s, %s, %s, %s)
"""

_BEGIN_ACTION = """
SELECT begun, event_id, survivor AS conversation_id, kind, wait_for, emitted_at, age_seconds
FROM begin_action(%s, %s, %s, %s, %s, %s)
"""

#: The part of a conversation that an action changes: archive and trash change its status, each tag changes itself.
CHANGED_PART = SQL("CASE WHEN {action}.kind IN ('archive', 'trash') THEN 'status' ELSE {action}.kind END")

_UNDO_FACTS = SQL("""
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
          AND coalesce(e.emitted_at, e.received_at) > sent.intent_at LIMIT 1) AS change
FROM own LEFT JOIN sent ON true
""").format(a_thing=CHANGED_PART.format(action=SQL("a")), own_thing=CHANGED_PART.format(action=SQL("own")))

# A kept snapshot is good while the same events are recorded. It is not used after a change of the same part was sent,
# nor for an action whose own change may have been sent: that one may still arrive at Front.
_SNAPSHOT = SQL("""
WITH own AS (
    SELECT a.*, {a_part} AS part, conversation_family_array(a.tenant_id, a.conversation_id) AS family
    FROM actions a WHERE a.event_id = %(event)s
), recorded AS (
    SELECT e.id, coalesce(e.source, '') = ANY(%(api)s) AND e.type = ANY(%(status)s) AS is_status_change,
           coalesce(e.source, '') = ANY(%(api)s) AND e.type = ANY(%(tags)s) AS is_tag_change
    FROM own JOIN events e ON e.tenant_id = own.tenant_id AND e.conversation_id = ANY(own.family)
), known AS (
    SELECT concat_ws('/', count(*) FILTER (WHERE NOT is_tag_change), sum(id) FILTER (WHERE NOT is_tag_change))
           AS status_events,
           concat_ws('/', count(*) FILTER (WHERE NOT is_status_change), sum(id) FILTER (WHERE NOT is_status_change))
           AS tag_events
    FROM recorded
)
SELECT surviving_conversation(own.tenant_id, own.conversation_id) AS conversation_id,
       coalesce(kept.taken_at, now()) AS taken_at, coalesce(kept.status_events, known.status_events) AS status_events,
       coalesce(kept.tag_events, known.tag_events) AS tag_events,
       EXISTS (SELECT FROM recorded JOIN tasks t ON t.event_id = recorded.id
               WHERE t.event_id <> own.event_id AND t.kind IN ('apply_action', 'undo_action')
                 AND t.state IN ('ready', 'queued', 'running')) AS others_open,
       kept.status, kept.tag_ids, kept.events, kept.events_since
FROM own CROSS JOIN known
LEFT JOIN conversation_snapshots kept
    ON kept.tenant_id = own.tenant_id
    AND kept.conversation_id = surviving_conversation(own.tenant_id, own.conversation_id)
    AND CASE own.part WHEN 'status' THEN kept.status_events = known.status_events
                      ELSE kept.tag_events = known.tag_events END
    AND kept.taken_at > now() - make_interval(secs => %(seconds)s)
    AND own.state <> 'intent' AND own.undo_intent_at IS NULL
    AND NOT EXISTS (SELECT FROM recorded JOIN actions a ON a.event_id = recorded.id
                    WHERE {a_part} = own.part AND greatest(a.intent_at, a.undo_intent_at) >= kept.taken_at)
""").format(a_part=CHANGED_PART.format(action=SQL("a")))

_KEEP_SNAPSHOT = """
INSERT INTO conversation_snapshots AS kept
    (tenant_id, conversation_id, taken_at, status_events, tag_events, status, tag_ids, events, events_since)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (tenant_id, conversation_id) DO UPDATE
SET (taken_at, status_events, tag_events, status, tag_ids, events, events_since) =
    (excluded.taken_at, excluded.status_events, excluded.tag_events, excluded.status, excluded.tag_ids,
     excluded.events, excluded.events_since)
WHERE excluded.taken_at >= kept.taken_at
"""

_MARK_UNDONE = SQL("""
UPDATE actions a SET state = 'undone', undone_at = now(), reason = 'undone: asked for by ' || a.undo_asked_by
FROM events e, actions own
WHERE own.event_id = %(event)s AND e.tenant_id = own.tenant_id AND a.event_id = e.id
  AND e.conversation_id = ANY(ARRAY(SELECT conversation_family(own.tenant_id, own.conversation_id)))
  AND {a_thing} = {own_thing} AND a.undo_asked_at IS NOT NULL
  AND a.state IN ('confirmed', 'failed') AND a.intent_at IS NOT NULL
""").format(a_thing=CHANGED_PART.format(action=SQL("a")), own_thing=CHANGED_PART.format(action=SQL("own")))


def lock_action(conn: Connection, task: Task, *, changes: Sequence[str], api_sources: Iterable[str]) -> ActionFacts:
    """Lock the task and its conversation like `leases.lock`, and return the facts of its event's action.

    `changes` are the event types by which somebody changes a conversation; events from `api_sources` do not count.
    Raises Fenced unless this attempt owns the task, and LookupError when the event has no action.
    """
    with conn.cursor(row_factory=dict_row) as cur:
        own = cur.execute(
            _LOCK_ACTION, (task.tenant_id, task.conversation_id, task.id, task.lease_epoch, task.event_id)
        ).fetchone()
        assert own is not None  # noqa: S101 -- a function of one row
        check_owned(own.pop("held"))
        if own["event_id"] is None:
            raise LookupError(f"event {task.event_id} has no action")
        values = {"event": task.event_id, "changes": list(changes), "api": list(api_sources)}
        others = None if own.pop("alone") else cur.execute(_OTHER_EVENTS, values).fetchone()
    return ActionFacts(**own, **(others or {}))


def begin_undisputed(conn: Connection, task: Task, *, fresh_seconds: float) -> ActionFacts | None:
    """Record the intent of the task's action if nothing can precede or overrule it, and return the facts before that.

    Returns None, and changes nothing, in any other case: `lock_action` then gives the facts by which to decide. It
    needs no transaction. Once it has returned, it is safe to send the change.
    """
    with conn.cursor(row_factory=dict_row) as cur:
        own = cur.execute(
            _BEGIN_ACTION,
            (task.tenant_id, task.conversation_id, task.id, task.lease_epoch, task.event_id, fresh_seconds),
        ).fetchone()
    if own is None or not own.pop("begun"):
        return None
    return ActionFacts(**own, state="planned", intent_at=None)


def record_intent(conn: Connection, event_id: int) -> None:
    """Record the intent to send the change. Only after the commit is it safe to send it."""
    conn.execute("UPDATE actions SET state = 'intent', intent_at = now() WHERE event_id = %s", (event_id,))


def withdraw_intent(conn: Connection, event_id: int) -> None:
    """Take the intent back, because nothing was sent or Front certainly refused it."""
    conn.execute("UPDATE actions SET state = 'planned', intent_at = NULL WHERE event_id = %s", (event_id,))


def settle(conn: Connection, event_id: int, state: str, reason: str) -> None:
    """End the action in this state, for this reason."""
    conn.execute("SELECT settle_action(%s, %s, %s)", (event_id, state, reason))


def set_reason(conn: Connection, event_id: int, reason: str) -> None:
    """Record why the action waits."""
    conn.execute("UPDATE actions SET reason = %s WHERE event_id = %s", (reason, event_id))


def undo_facts(conn: Connection, event_id: int, *, changes: Sequence[str], api_sources: frozenset[str]) -> UndoFacts:
    """Return the facts of this event's undo. The caller has locked the conversation.

    Raises LookupError when the event has no action.
    """
    values = {"event": event_id, "changes": list(changes), "api": list(api_sources)}
    with conn.cursor(row_factory=class_row(UndoFacts)) as cur:
        facts = cur.execute(_UNDO_FACTS, values).fetchone()
    if facts is None:
        raise LookupError(f"event {event_id} has no action")
    return facts


def record_undo_intent(conn: Connection, event_id: int) -> None:
    """Record the intent to send the undo. Only after the commit is it safe to send it."""
    conn.execute("UPDATE actions SET undo_intent_at = now() WHERE event_id = %s", (event_id,))


def withdraw_undo_intent(conn: Connection, event_id: int) -> None:
    """Take the intent to undo back, because nothing was sent or Front certainly refused it."""
    conn.execute("UPDATE actions SET undo_intent_at = NULL WHERE event_id = %s", (event_id,))


def mark_undone(conn: Connection, event_id: int) -> None:
    """Mark all sent actions as undone whose undo was asked for: those of the event's conversation and kind."""
    conn.execute(_MARK_UNDONE, {"event": event_id})


def snapshot(  # noqa: PLR0913 -- the lists that tell the events apart, each named at the call
    conn: Connection,
    event_id: int,
    *,
    seconds: float,
    status_changes: Sequence[str],
    tag_changes: Sequence[str],
    api_sources: Iterable[str],
) -> Snapshot:
    """Return a snapshot of the event's conversation, kept for at most `seconds`, or else one to be filled from Front.

    Events of the types in `status_changes` and `tag_changes` from `api_sources` change nothing but status or tags. The
    caller has locked the conversation, and asks Front after the transaction only. Raises LookupError when the event
    has no action.
    """
    values = {
        "event": event_id,
        "seconds": seconds,
        "status": list(status_changes),
        "tags": list(tag_changes),
        "api": list(api_sources),
    }
    with conn.cursor(row_factory=dict_row) as cur:
        row = cur.execute(_SNAPSHOT, values).fetchone()
    if row is None:
        raise LookupError(f"event {event_id} has no action")
    return Snapshot(observation=_observation(row), **row)


def keep_snapshot(conn: Connection, tenant_id: int, snapshot: Snapshot) -> None:
    """Keep the snapshot for later attempts, unless a newer one is kept."""
    observation = snapshot.observation
    if observation is None:
        return
    conn.execute(
        _KEEP_SNAPSHOT,
        (
            tenant_id,
            snapshot.conversation_id,
            snapshot.taken_at,
            snapshot.status_events,
            snapshot.tag_events,
            observation.status,
            sorted(observation.tag_ids),
            Jsonb([{**vars(event), "emitted_at": event.emitted_at.isoformat()} for event in observation.events]),
            observation.events_since,
        ),
    )


def remove_old_snapshots(conn: Connection, *, seconds: float) -> None:
    """Delete the snapshots that are older than `seconds`."""
    conn.execute("DELETE FROM conversation_snapshots WHERE taken_at < now() - make_interval(secs => %s)", (seconds,))


def _observation(row: dict[str, Any]) -> Observation | None:
    """Take the observation out of the row; None when no snapshot was kept."""
    status, tag_ids, events, since = (row.pop(name) for name in ("status", "tag_ids", "events", "events_since"))
    if status is None:
        return None
    return Observation(
        status=status, tag_ids=frozenset(tag_ids), events=tuple(map(_observed_event, events)), events_since=since
    )


def _observed_event(stored: Mapping[str, Any]) -> ObservedEvent:
    return ObservedEvent(**{**stored, "emitted_at": datetime.fromisoformat(stored["emitted_at"])})
