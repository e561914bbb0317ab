"""Reads the facts of numbered notifications, from which their bodies are built."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from shared.db.core.pool import Connection
from shared.host.notification import (
    ActionOutcome,
    Cursor,
    EventFacts,
    FileFacts,
    NotificationFacts,
    RecipientFacts,
    TenantFacts,
)

_NOTIFICATIONS = """
SELECT n.position, n.id, n.type, n.at, n.attachment_id, coalesce(n.facts, '{}') AS facts, feed_state.epoch,
    t.id AS tenant_id, t.name, t.customer, t.company_id,
    e.id AS number, e.front_id, e.type AS event_type, e.conversation_id, e.message_id, e.emitted_at, e.received_at,
    (SELECT d.body FROM deliveries d WHERE d.event_id = e.id AND d.body IS NOT NULL
     ORDER BY d.received_at, d.id LIMIT 1) AS body,
    (SELECT f.body FROM fetched_messages f WHERE f.event_id = e.id) AS fetched,
    a.kind AS action_kind, a.state AS action_state, a.reason AS action_reason
FROM notifications n CROSS JOIN feed_state
LEFT JOIN tenants t ON t.id = n.tenant_id
LEFT JOIN events e ON e.id = n.event_id
LEFT JOIN actions a ON a.event_id = n.event_id
WHERE n.position = ANY(%s) ORDER BY n.position
"""
_RECIPIENTS = """
SELECT r.event_id, r.handle, r.role, r.reason, u.external_id AS user_id, u.name AS user_name
FROM recipients r LEFT JOIN users u ON u.tenant_id = r.tenant_id AND u.id = r.user_id
WHERE r.event_id = ANY(ARRAY(SELECT event_id FROM notifications WHERE position = ANY(%s)))
ORDER BY r.event_id, r.position
"""
_FILES = """
SELECT event_id, id AS number, front_id AS id, filename, content_type, declared_size, is_inline, state, size, sha256,
    state <> 'stored' OR path IS NOT NULL AS is_kept
FROM attachments WHERE event_id = ANY(ARRAY(SELECT event_id FROM notifications WHERE position = ANY(%s)))
ORDER BY event_id, attachments.id
"""


def load(conn: Connection, positions: Sequence[int]) -> list[NotificationFacts]:
    """Return the notifications at these positions, lowest position first; those that were deleted are left out.

    What it says of users, files and the action is as of now, not of the time of the notification.
    """
    with conn.pipeline():
        rows, recipients, files = (_ask(conn, query, positions) for query in (_NOTIFICATIONS, _RECIPIENTS, _FILES))
        found = rows.fetchall()
        of_event, files_of_event = _by_event(recipients.fetchall()), _by_event(files.fetchall())
    return [_facts(row, of_event, files_of_event) for row in found]


def _ask(conn: Connection, query: str, positions: Sequence[int]) -> psycopg.Cursor[dict[str, Any]]:
    return conn.cursor(row_factory=dict_row).execute(query.encode(), (list(positions),))


def _by_event(rows: Sequence[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row.pop("event_id")].append(row)
    return found


def _facts(
    row: dict[str, Any], recipients: dict[int, list[dict[str, Any]]], files: dict[int, list[dict[str, Any]]]
) -> NotificationFacts:
    number = row["number"]
    return NotificationFacts(
        id=row["id"],
        cursor=Cursor(row["epoch"], row["position"]),
        type=row["type"],
        at=row["at"],
        tenant=_tenant(row),
        event=None if number is None else _event(row, recipients.get(number, []), files.get(number, [])),
        attachment_id=row["attachment_id"],
        facts=row["facts"],
    )


def _tenant(row: dict[str, Any]) -> TenantFacts | None:
    if row["tenant_id"] is None:
        return None
    return TenantFacts(id=row["tenant_id"], name=row["name"], customer=row["customer"], company_id=row["company_id"])


def _event(row: dict[str, Any], recipients: list[dict[str, Any]], files: list[dict[str, Any]]) -> EventFacts:
    has_action = row["action_kind"] is not None
    return EventFacts(
        number=row["number"],
        front_id=row["front_id"],
        type=row["event_type"],
        conversation_id=row["conversation_id"],
        message_id=row["message_id"],
        emitted_at=row["emitted_at"],
        received_at=row["received_at"],
        body=_decompressed(row["body"]),
        fetched=_decompressed(row["fetched"]),
        recipients=[RecipientFacts(**each) for each in recipients],
        files=[FileFacts(**each) for each in files],
        action=ActionOutcome(kind=row["action_kind"], state=row["action_state"], reason=row["action_reason"])
        if has_action
        else None,
    )


def _decompressed(body: bytes | None) -> bytes | None:
    return None if body is None else zlib.decompress(body)
