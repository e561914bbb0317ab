"""Insert rows as the recorder and the workers leave them."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Json, Jsonb

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
BODY = b'{"type":"inbound_received","payload":{"target":{"data":{"body":"a secret sentence"}}}}'
CALL = {"method": "GET", "path": "/download/fil_1", "status": 200, "ms": 81, "budget_left": 97}


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def insert(conn: psycopg.Connection[Any], table: str, **columns: Any) -> Any:
    """Insert one row and return its first column."""
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    row = conn.execute(
        f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING *", list(columns.values())
    ).fetchone()
    assert row
    return row[0]


def insert_event(
    conn: psycopg.Connection[Any], *, front_id: str = "evt_1", company: str = "cmp_acme", **changed: Any
) -> int:
    """Insert an inbound mail of the tenant with this company and return its id."""
    tenant = conn.execute("SELECT id FROM tenants WHERE company_id = %s", (company,)).fetchone()
    columns = {
        "company_id": company,
        "front_id": front_id,
        "tenant_id": tenant[0] if tenant else None,
        "type": "inbound_received",
        "conversation_id": "cnv_1",
        "message_id": "msg_1",
        "emitted_at": at(-1),
        "received_at": at(0),
        "recorded_at": at(0.02),
        "state": "done",
    }
    event = insert(conn, "events", **(columns | changed))
    insert(
        conn,
        "deliveries",
        id=UUID(int=event),
        event_id=event,
        received_at=at(0),
        origin="webhook",
        body=zlib.compress(BODY),
    )
    return int(event)


def insert_task(conn: psycopg.Connection[Any], event: int, **columns: Any) -> int:
    """Insert a task of the event and return its id."""
    known = {"event_id": event, "kind": "apply_action", "state": "failed", "code": "front_unavailable", "attempts": 3}
    tenant = conn.execute("SELECT tenant_id FROM events WHERE id = %s", (event,)).fetchone()
    assert tenant
    return int(insert(conn, "tasks", **(known | {"tenant_id": tenant[0]} | columns)))


def insert_archived_event(conn: psycopg.Connection[Any]) -> int:
    """Insert a mail to Nora with a hostile file name, archived at the second attempt; return its id."""
    event = insert_event(conn)
    [tenant] = conn.execute("SELECT tenant_id FROM events").fetchone() or (None,)
    conn.execute("INSERT INTO users (tenant_id, external_id, name) VALUES (%s, '17', 'Nora Lind')", (tenant,))
    [nora] = conn.execute("SELECT id FROM users").fetchone() or (None,)
    insert(conn, "deliveries", id=UUID(int=10**6), event_id=event, received_at=at(5), origin="spooled")
    recipients = [
        ["Nora@acme.example", "to", nora, "to = user 17"],
        ["ap@acme.example", "to", None, "no user with ap@acme.example"],
    ]
    conn.execute("UPDATE events SET recipients = %s WHERE id = %s", (Json(recipients), event))
    file = {"tenant_id": tenant, "event_id": event, "conversation_id": "cnv_1", "content_type": "application/pdf"}
    name = "\x1b[31m[bold]invoice[/bold]\u202efdp.exe"
    stored = {"state": "stored", "size": 3, "sha256": "ab" * 32, "path": "1/xy/fil_1", "stored_at": at(1.2)}
    attachment = insert(conn, "attachments", **file, front_id="fil_1", filename=name, **stored)
    action = {
        "event_id": event,
        "tenant_id": tenant,
        "conversation_id": "cnv_1",
        "kind": "archive",
        "wait_for": "stored",
    }
    settled = {"state": "confirmed", "reason": "the tenant's policy", "intent_at": at(33), "settled_at": at(33.1)}
    insert(conn, "actions", **action, emitted_at=at(-1), **settled)
    done = {"state": "done", "code": None, "settled_at": at(34)}
    storing = insert_task(conn, event, kind="store_attachment", attachment_id=attachment, attempts=1, **done)
    applying = insert_task(conn, event, kind="apply_action", attempts=2, **done)
    attempt = {"worker": "worker@host:7", "calls": Jsonb([CALL])}
    insert(conn, "attempts", **attempt, task_id=storing, epoch=1, started_at=at(1), ended_at=at(1.3), outcome="done")
    unavailable = {"outcome": "ready", "code": "front_unavailable", "detail": "Front answered 503"}
    insert(conn, "attempts", **attempt, task_id=applying, epoch=1, started_at=at(2), ended_at=at(2.1), **unavailable)
    insert(conn, "attempts", **attempt, task_id=applying, epoch=2, started_at=at(32), ended_at=at(34), outcome="done")
    insert(conn, "journal", event_id=event, at=at(31), what="task_retried", who="nora", detail=f"task {applying}")
    return event
