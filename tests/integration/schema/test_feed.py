"""The SQL of the feed: when a message is announced, and what is announced of actions and tenants."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.integration.schema.builders import CONVERSATION, Builder, insert, insert_id

OUTBOX = "SELECT type, event_id, attachment_id, facts FROM outbox ORDER BY id"
FILE = "fil_waiting_cnv_1"


def announced(conn: psycopg.Connection[Any]) -> list[str]:
    return [kind for kind, *_ in conn.execute(OUTBOX)]


@pytest.fixture
def message(conn: psycopg.Connection[Any], build: Builder) -> int:
    """A message for Nora with a file that is to be stored."""
    nora = insert_id(conn, "users", tenant_id=build.tenant, external_id="17", name="Nora")
    event = build.event(to_announce=True, recipients=f'[["nora@acme.example", "to", {nora}, "to Nora"]]')
    build.task(event, state="running", kind="store_attachment")
    return event


def end(conn: psycopg.Connection[Any], event: int, state: str, kind: str = "store_attachment") -> None:
    """End the event's tasks of this kind as an attempt does."""
    conn.execute("UPDATE tasks SET state = %s WHERE event_id = %s AND kind = %s", (state, event, kind))
    conn.execute("SELECT update_event_state(%s)", (event,))


@pytest.mark.parametrize("state", ["done", "failed", "discarded"])
def test_a_message_is_announced_when_its_last_file_is_settled(
    conn: psycopg.Connection[Any], build: Builder, message: int, state: str
) -> None:
    build.task(message, state="running", kind="store_attachment")
    conn.execute("UPDATE tasks SET state = 'done' WHERE id = (SELECT min(id) FROM tasks)")
    conn.execute("SELECT update_event_state(%s)", (message,))
    assert announced(conn) == []
    end(conn, message, state)
    assert conn.execute(OUTBOX).fetchall() == [("message.received", message, None, None)]


def test_a_message_is_announced_once_whatever_is_retried(conn: psycopg.Connection[Any], message: int) -> None:
    for state in ("failed", "ready", "done"):
        end(conn, message, state)
    assert announced(conn) == ["message.received"]


def test_a_message_that_could_not_be_fetched_is_not_announced(
    conn: psycopg.Connection[Any], build: Builder, message: int
) -> None:
    build.task(message, state="running", kind="fetch_message")
    end(conn, message, "failed", "fetch_message")
    end(conn, message, "done")
    assert announced(conn) == []
    end(conn, message, "discarded", "fetch_message")
    assert announced(conn) == ["message.received"]


def test_the_end_of_an_action_alone_announces_no_message(conn: psycopg.Connection[Any], build: Builder) -> None:
    event = build.event()
    build.task(event, state="running")
    end(conn, event, "done", "apply_action")
    assert announced(conn) == []


@pytest.mark.parametrize(
    ("event_type", "recipients", "expected"),
    [
        ("inbound_received", '[["a@x.example", "from", null, "-"], ["n@y.example", "to", 3, "-"]]', "message.received"),
        ("inbound_received", '[["a@x.example", "to", null, "-"]]', "message.unmatched"),
        ("inbound_received", None, "message.unmatched"),
        ("outbound_sent", '[["n@y.example", "to", 3, "-"]]', "message.sent"),
    ],
)
def test_the_type_tells_whether_somebody_was_matched(
    conn: psycopg.Connection[Any], event_type: str, recipients: str | None, expected: str
) -> None:
    assert conn.execute("SELECT message_notification_type(%s, %s)", (event_type, recipients)).fetchone() == (expected,)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("confirmed", ["conversation.action_applied"]),
        ("superseded", ["conversation.action_superseded"]),
        ("skipped", []),
        ("failed", []),
    ],
)
def test_an_action_is_announced_when_it_was_applied_or_superseded(
    conn: psycopg.Connection[Any], build: Builder, state: str, expected: list[str]
) -> None:
    event = build.event()
    build.action(event)
    conn.execute("SELECT settle_action(%s, %s, 'why')", (event, state))
    assert announced(conn) == expected
    if expected:
        assert conn.execute(OUTBOX).fetchall()[0][3] == {"kind": "archive", "state": state, "reason": "why"}


@pytest.mark.parametrize(
    ("before", "change", "expected"),
    [
        ("connected_at = now()", "parked_cause = 'paused'", ["tenant.paused"]),
        ("connected_at = now(), parked_cause = 'paused'", "parked_cause = 'paused'", []),
        ("connected_at = now()", "parked_cause = 'needs_reconnect'", ["tenant.needs_reconnect"]),
        ("parked_cause = 'needs_reconnect'", "parked_cause = NULL, connected_at = now()", ["tenant.connected"]),
        ("connected_at = NULL", "connected_at = now()", ["tenant.connected"]),
        ("connected_at = now(), parked_cause = 'paused'", "parked_cause = NULL", []),
        ("connected_at = now()", "parked_cause = 'erasing'", []),
        ("connected_at = now()", "connected_at = now(), parked_cause = NULL", []),
    ],
)
def test_a_tenant_is_announced_when_its_connection_changes(
    conn: psycopg.Connection[Any], build: Builder, before: str, change: str, expected: list[str]
) -> None:
    conn.execute(f"UPDATE tenants SET {before}".encode())
    conn.execute("DELETE FROM outbox")
    conn.execute(f"UPDATE tenants SET {change}".encode())
    assert announced(conn) == expected


def test_an_epoch_is_a_word_of_its_own(conn: psycopg.Connection[Any]) -> None:
    words = {conn.execute("SELECT new_feed_epoch()").fetchone() for _ in range(20)}
    assert len(words) == 20
    assert conn.execute("SELECT epoch ~ '^f[0-9a-f]{7}$' FROM feed_state").fetchone() == (True,)


def test_a_notification_cannot_be_about_another_tenants_event(conn: psycopg.Connection[Any], build: Builder) -> None:
    second = insert_id(conn, "tenants", name="Second", company_id="cmp_second")
    event = build.event()
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        insert(
            conn,
            "notifications",
            position=1,
            tenant_id=second,
            event_id=event,
            type="ping",
            conversation_id=CONVERSATION,
            at="now",
        )
