"""Work that waits, put straight into the rows: real events of the small Front that nobody was told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from bench.harness.mail import desk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.harness.mailroom import Mailroom

AT_ONCE = 5_000


def add_backlog(mailroom: Mailroom, companies: Iterable[str], each: int) -> int:
    """Let so many messages of each company wait for their action, as recorded a moment ago; how many in all."""
    total = 0
    with psycopg.connect(mailroom.database_url) as conn:
        for company in companies:
            for began in range(0, each, AT_ONCE):
                total += _insert(conn, company, _events(mailroom, company, min(AT_ONCE, each - began)))
                conn.commit()
    return total


def drop_backlog(mailroom: Mailroom) -> int:
    """Discard what was not begun, as a person would; how much that was."""
    with psycopg.connect(mailroom.database_url) as conn:
        return conn.execute(
            """
            WITH dropped AS (
                UPDATE tasks SET state = 'discarded', settled_at = now() WHERE state = 'ready' RETURNING event_id
            ), closed AS (
                UPDATE actions SET state = 'discarded' WHERE event_id IN (SELECT event_id FROM dropped)
            )
            UPDATE events SET state = 'done' WHERE id IN (SELECT event_id FROM dropped)
            """
        ).rowcount


def _events(mailroom: Mailroom, company: str, count: int) -> list[dict[str, Any]]:
    to = [{"handle": desk(company), "role": "to"}]
    order = {"recipients": to, "expect": "archived", "count": count, "deliver": False}
    events: list[dict[str, Any]] = mailroom.front.send("inbound_received", company, **order)["events"]
    return events


def _insert(conn: psycopg.Connection, company: str, events: list[dict[str, Any]]) -> int:
    columns = [[event[name] for event in events] for name in ("event_id", "conversation_id", "message_id")]
    return conn.execute(
        """
        WITH happened AS (
            INSERT INTO events (company_id, front_id, tenant_id, type, conversation_id, message_id, emitted_at,
                                received_at, state)
            SELECT company_id, event, tenants.id, 'inbound_received', conversation, message, now(), now(), 'processing'
            FROM tenants, unnest(%s::text[], %s::text[], %s::text[]) AS front(event, conversation, message)
            WHERE company_id = %s RETURNING id, tenant_id, conversation_id, emitted_at
        ), planned AS (
            INSERT INTO actions (event_id, tenant_id, conversation_id, kind, wait_for, state, reason, emitted_at)
            SELECT id, tenant_id, conversation_id, 'archive', 'stored', 'planned', 'backlog', emitted_at FROM happened
        )
        INSERT INTO tasks (tenant_id, event_id, kind, state)
        SELECT tenant_id, id, 'apply_action', 'ready' FROM happened
        """,
        (*columns, company),
    ).rowcount
