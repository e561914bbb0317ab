"""The action of an event: what our rows know about it, and how far it got."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from shared.blocking import Unstored
from shared.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class Action:
    """An action as it stands, and what else our rows know about its conversation since its event.

    `age_seconds` since Front emitted its event, by the database's clock. `survivor`: the conversation's id at Front,
    another one when it was merged. `waiting`, `failed` and `discarded` files of the conversation are not stored.
    `change`, `equal_newer`, `newer_message` and `earlier_open` may overrule or precede the action; each names Front's
    event, or is None. `earlier_due_seconds`: until the earlier one is tried again.
    """

    event_id: int
    kind: str
    wait_for: str
    state: str
    emitted_at: datetime
    intent_at: datetime | None
    age_seconds: float
    dry_run: bool
    undo_asked: bool
    survivor: str
    waiting: int
    failed: int
    discarded: int
    change: str | None
    equal_newer: str | None
    newer_message: str | None
    earlier_open: str | None
    earlier_due_seconds: float

    @property
    def unstored(self) -> Unstored:
        """The files that are not stored."""
        return Unstored(waiting=self.waiting, failed=self.failed, discarded=self.discarded)


# A later event is one emitted later, or at the same moment and recorded later. Undos are looked up by event, hence the
# OFFSET: a tenant may have very many open ones.
_STANDING = """
WITH own AS (SELECT * FROM actions WHERE event_id = %(event)s),
family AS (SELECT conversation_family(own.tenant_id, own.conversation_id) AS id FROM own),
later AS (
    SELECT e.id, e.front_id, e.type, e.source, a.kind, a.state, a.dry_run
    FROM own JOIN events e ON e.tenant_id = own.tenant_id AND e.conversation_id = ANY(ARRAY(SELECT id FROM family))
        AND e.emitted_at >= own.emitted_at AND (e.emitted_at, e.id) > (own.emitted_at, own.event_id)
        AND e.id <> own.event_id
    LEFT JOIN actions a ON a.event_id = e.id
), open_tasks AS (
    SELECT t.event_id, t.due_at FROM own
    JOIN actions a ON a.tenant_id = own.tenant_id AND a.conversation_id = ANY(ARRAY(SELECT id FROM family))
    JOIN tasks t ON t.event_id = a.event_id AND t.kind = 'apply_action'
    WHERE a.state IN ('planned', 'intent') AND t.state IN ('ready', 'queued', 'running') AND t.due_at < 'infinity'
    UNION ALL
    SELECT t.event_id, t.due_at FROM own
    JOIN events e ON e.tenant_id = own.tenant_id AND e.conversation_id = ANY(ARRAY(SELECT id FROM family))
    CROSS JOIN LATERAL (SELECT event_id, due_at FROM tasks WHERE event_id = e.id AND kind = 'undo_action'
                        AND state IN ('ready', 'queued', 'running') OFFSET 0) t
), open_before AS (
    SELECT e.front_id, extract(epoch FROM t.due_at - now())::float8 AS due_seconds
    FROM own CROSS JOIN open_tasks t JOIN actions a ON a.event_id = t.event_id JOIN events e ON e.id = t.event_id
    WHERE (a.emitted_at, a.event_id) < (own.emitted_at, own.event_id)
    ORDER BY a.emitted_at DESC LIMIT 1
)
SELECT event_id, kind, wait_for, state, emitted_at, intent_at, dry_run, undo_asked_at IS NOT NULL AS undo_asked,
    extract(epoch FROM now() - emitted_at)::float8 AS age_seconds,
    surviving_conversation(tenant_id, conversation_id) AS survivor, waiting, failed, discarded,
    (SELECT front_id FROM later WHERE type = ANY(%(changes)s) AND NOT coalesce(source, '') = ANY(%(api)s) LIMIT 1)
        AS change,
    (SELECT front_id FROM later WHERE later.kind = own.kind AND later.dry_run = own.dry_run
     AND later.state IN ('planned', 'intent') ORDER BY id DESC LIMIT 1)
        AS equal_newer,
    (SELECT front_id FROM later WHERE type = 'inbound_received'
     AND coalesce(later.state, '') NOT IN ('planned', 'intent') LIMIT 1) AS newer_message,
    (SELECT front_id FROM open_before) AS earlier_open,
    coalesce((SELECT due_seconds FROM open_before), 0) AS earlier_due_seconds
FROM own CROSS JOIN LATERAL unstored_files(tenant_id, conversation_id)
"""


def get(conn: Connection, event_id: int, *, changes: Sequence[str], api_sources: Iterable[str]) -> Action:
    """The event's action; call with the conversation locked. Raises LookupError when it has none.

    `changes` are the types of events by which somebody changes a conversation, but for those from `api_sources`.
    """
    values = {"event": event_id, "changes": list(changes), "api": list(api_sources)}
    with conn.cursor(row_factory=class_row(Action)) as cur:
        action = cur.execute(_STANDING, values).fetchone()
    if action is None:
        raise LookupError(f"event {event_id} has no action")
    return action


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
