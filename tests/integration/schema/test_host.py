"""The SQL of notifications: what an action that waits for the host application is told."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.integration.schema.builders import CONVERSATION, Builder, insert, insert_id


@pytest.fixture
def endpoint(conn: psycopg.Connection[Any]) -> int:
    """An endpoint of all tenants."""
    return insert_id(conn, "endpoints", name="app", url="https://app.example.com/", secret=b"sealed")


def notify(conn: psycopg.Connection[Any], build: Builder, endpoint: int, event: int, state: str, kind: str) -> None:
    """Insert a notification of this kind about the event, and its task."""
    row = conn.execute("SELECT coalesce(max(position), 0) + 1 FROM notifications").fetchone()
    assert row
    told = {"tenant_id": build.tenant, "event_id": event, "conversation_id": CONVERSATION}
    insert(conn, "notifications", position=row[0], type=kind, at="now", **told)
    build.task(event, state, "notify", endpoint_id=endpoint, position=row[0], order_key=1)


def test_the_notices_of_an_event_are_those_about_its_message(
    conn: psycopg.Connection[Any], build: Builder, endpoint: int
) -> None:
    event = build.event()
    for state in ("done", "discarded", "ready", "queued", "running", "failed"):
        notify(conn, build, endpoint, event, state, "message.received")
    notify(conn, build, endpoint, event, "ready", "conversation.action_applied")
    assert conn.execute("SELECT * FROM host_notices(%s)", (event,)).fetchone() == (2, 3, 1)


def test_an_event_is_done_while_its_notification_waits_and_failed_with_it(
    conn: psycopg.Connection[Any], build: Builder, endpoint: int
) -> None:
    event = build.event()
    for state, expected in (("ready", "done"), ("failed", "failed"), ("done", "done")):
        notify(conn, build, endpoint, event, state, "message.received")
        conn.execute("SELECT update_event_state(%s)", (event,))
        assert conn.execute("SELECT state FROM events WHERE id = %s", (event,)).fetchone() == (expected,)
        conn.execute("DELETE FROM tasks")


@pytest.mark.parametrize(
    "columns",
    [
        {"kind": "notify"},
        {"kind": "fetch_message", "position": 1},
        {"kind": "fetch_message", "event_id": None},
    ],
)
def test_only_notifications_have_an_endpoint_and_no_event(
    conn: psycopg.Connection[Any], build: Builder, columns: dict[str, Any]
) -> None:
    event = build.event()
    with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
        build.task(event, **columns)


def test_the_rows_of_a_tenant_go_with_it_also_those_about_no_event(
    conn: psycopg.Connection[Any], build: Builder, endpoint: int
) -> None:
    insert(
        conn, "notifications", position=1, type="tenant.paused", at="now", tenant_id=build.tenant, conversation_id=""
    )
    insert(
        conn,
        "tasks",
        tenant_id=build.tenant,
        kind="notify",
        state="ready",
        endpoint_id=endpoint,
        position=1,
        order_key=1,
    )
    conn.execute("DELETE FROM tenants")
    assert conn.execute("SELECT count(*) FROM tasks").fetchone() == (0,)
