"""The SQL functions that lock conversations, tasks and actions until the transaction ends."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.errors import SerializationFailure
from psycopg.rows import dict_row

from bench.harness.processes import wait_until
from tests.integration.schema.builders import CONVERSATION, Builder

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
ONE = "SELECT lock_conversation(%s, %s)"
SEVERAL = "SELECT lock_conversations(%s, %s)"
WAITS = 60.0


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """A thread that runs a statement behind a lock of the test."""
    with ThreadPoolExecutor(1) as thread:
        yield thread


def is_locked(other: psycopg.Connection[Any], tenant: int, conversation: str) -> bool:
    """Whether another session holds the lock of the conversation."""
    with other.transaction():
        row = other.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, %s))", (conversation, tenant))
        return row.fetchone() == (False,)


def locked_conversations(other: psycopg.Connection[Any], tenant: int, *conversations: str) -> list[str]:
    """Return the conversations that another session has locked."""
    return [conversation for conversation in conversations if is_locked(other, tenant, conversation)]


def test_lock_conversation_locks_it_until_the_transaction_ends(
    conn: psycopg.Connection[Any], other: psycopg.Connection[Any], build: Builder
) -> None:
    with conn.transaction():
        conn.execute(ONE, (build.tenant, "cnv_a"))
        assert locked_conversations(other, build.tenant, "cnv_a", "cnv_b") == ["cnv_a"]
        assert not is_locked(other, build.tenant + 1, "cnv_a")
    assert not is_locked(other, build.tenant, "cnv_a")


def test_lock_conversation_locks_the_family(
    conn: psycopg.Connection[Any], other: psycopg.Connection[Any], build: Builder
) -> None:
    build.merge("cnv_a", "cnv_b")
    with conn.transaction():
        conn.execute(ONE, (build.tenant, "cnv_a"))
        assert locked_conversations(other, build.tenant, "cnv_a", "cnv_b", "cnv_c") == ["cnv_a", "cnv_b"]


def test_lock_conversations_locks_all_families(
    conn: psycopg.Connection[Any], other: psycopg.Connection[Any], build: Builder
) -> None:
    build.merge("cnv_a", "cnv_b")
    with conn.transaction():
        conn.execute(SEVERAL, ([build.tenant] * 2, ["cnv_c", "cnv_a"]))
        assert locked_conversations(other, build.tenant, "cnv_a", "cnv_b", "cnv_c", "cnv_d") == [
            "cnv_a",
            "cnv_b",
            "cnv_c",
        ]
    assert locked_conversations(other, build.tenant, "cnv_a", "cnv_b", "cnv_c") == []


def test_lock_conversation_fails_when_the_conversation_was_merged_meanwhile(
    conn: psycopg.Connection[Any], database: str, build: Builder, thread: ThreadPoolExecutor
) -> None:
    with conn.transaction():
        conn.execute(ONE, (build.tenant, "cnv_a"))
        waiting = thread.submit(_run, database, ONE, build.tenant, "cnv_a")
        _wait_until_blocked(conn)
        build.merge("cnv_a", "cnv_b")
    with pytest.raises(SerializationFailure, match="a conversation was merged"):
        waiting.result(WAITS)


def test_lock_conversations_fails_when_a_family_grew_meanwhile(
    conn: psycopg.Connection[Any], database: str, build: Builder, thread: ThreadPoolExecutor
) -> None:
    build.merge("cnv_a", "cnv_b")
    with conn.transaction():
        conn.execute(ONE, (build.tenant, "cnv_a"))
        waiting = thread.submit(_run, database, SEVERAL, [build.tenant], ["cnv_b"])
        _wait_until_blocked(conn)
        build.merge("cnv_b", "cnv_c")
    with pytest.raises(SerializationFailure, match="a conversation was merged"):
        waiting.result(WAITS)


def test_lock_task_locks_the_task_and_its_conversation(
    conn: psycopg.Connection[Any], other: psycopg.Connection[Any], build: Builder
) -> None:
    task = build.task(build.event())
    with conn.transaction():
        assert _lock_task(conn, build.tenant, task, 1)
        assert is_locked(other, build.tenant, CONVERSATION)
        assert other.execute("SELECT FROM tasks FOR UPDATE SKIP LOCKED").rowcount == 0
    assert other.execute("SELECT FROM tasks FOR UPDATE SKIP LOCKED").rowcount == 1


@pytest.mark.parametrize(("state", "epoch"), [("running", 2), ("ready", 1), ("done", 1)])
def test_lock_task_is_false_for_another_attempts_task(
    conn: psycopg.Connection[Any], build: Builder, state: str, epoch: int
) -> None:
    task = build.task(build.event(), state)
    assert not _lock_task(conn, build.tenant, task, epoch)


def test_lock_action_returns_the_action_and_the_files_that_it_waits_for(
    conn: psycopg.Connection[Any], other: psycopg.Connection[Any], build: Builder
) -> None:
    event = build.event()
    task = build.task(event)
    build.action(event, dry_run=True, undo_asked_at="now")
    for state in ("waiting", "failed", "stored"):
        build.attachment(event, state)
    conn.execute("UPDATE actions SET emitted_at = now() - interval '1 minute'")
    with conn.transaction():
        found = _lock_action(conn, build, task, 1, event)
        assert is_locked(other, build.tenant, CONVERSATION)
    assert found.pop("emitted_at") is not None
    assert 60 <= found.pop("age_seconds") < 120
    assert found == {
        "held": True,
        "alone": True,
        "event_id": event,
        "kind": "archive",
        "wait_for": "stored",
        "state": "planned",
        "intent_at": None,
        "dry_run": True,
        "undo_asked": True,
        "survivor": CONVERSATION,
        "waiting": 1,
        "failed": 1,
        "discarded": 0,
        "act_after": "files",
        "notified": None,
        "to_notify": None,
        "not_notified": None,
    }


def test_lock_action_sees_other_events_of_the_family(conn: psycopg.Connection[Any], build: Builder) -> None:
    event = build.event()
    task = build.task(event)
    build.action(event)
    build.event("cnv_2")
    assert _lock_action(conn, build, task, 1, event)["alone"] is True
    build.merge(CONVERSATION, "cnv_2")
    found = _lock_action(conn, build, task, 1, event)
    assert (found["alone"], found["survivor"]) == (False, "cnv_2")


def test_lock_action_returns_nothing_else_when_another_attempt_owns_the_task(
    conn: psycopg.Connection[Any], build: Builder
) -> None:
    event = build.event()
    task = build.task(event)
    build.action(event)
    found = _lock_action(conn, build, task, 2, event)
    assert found.pop("held") is False
    assert set(found.values()) == {None}


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "intent"},
        {"dry_run": True},
        {"undo_asked_at": "now"},
        {"act_after": "notified"},
        {"emitted_at": "2020-01-01T00:00Z"},
    ],
)
def test_begin_action_leaves_what_needs_a_decision(
    conn: psycopg.Connection[Any], build: Builder, changes: dict[str, Any]
) -> None:
    event = build.event()
    build.action(event, **changes)
    assert begin_action(conn, build, build.task(event), event) == (False, None)
    assert conn.execute("SELECT intent_at FROM actions").fetchone() == (None,)


@pytest.mark.parametrize("state", ["waiting", "failed", "discarded"])
def test_begin_action_leaves_an_action_with_an_unstored_file(
    conn: psycopg.Connection[Any], build: Builder, state: str
) -> None:
    event = build.event()
    build.action(event)
    build.attachment(event, state)
    assert begin_action(conn, build, build.task(event), event) == (False, None)


def test_begin_action_leaves_an_action_beside_another_event(conn: psycopg.Connection[Any], build: Builder) -> None:
    event = build.event()
    build.action(event)
    build.event()
    assert begin_action(conn, build, build.task(event), event) == (False, None)


def test_begin_action_leaves_the_task_of_another_attempt(conn: psycopg.Connection[Any], build: Builder) -> None:
    event = build.event()
    build.action(event)
    assert begin_action(conn, build, build.task(event, lease_epoch=2), event) == (False, None)


def test_begin_action_records_the_intent_and_returns_the_facts(conn: psycopg.Connection[Any], build: Builder) -> None:
    event = build.event()
    build.action(event)
    assert begin_action(conn, build, build.task(event), event) == (True, event)
    assert conn.execute("SELECT state, intent_at IS NOT NULL FROM actions").fetchone() == ("intent", True)


def begin_action(conn: psycopg.Connection[Any], build: Builder, task: int, event: int) -> tuple[bool, int | None]:
    """Begin the action under lease epoch 1, as one that is fresh for a minute."""
    values = (build.tenant, CONVERSATION, task, 1, event, 60)
    row = conn.execute("SELECT begun, event_id FROM begin_action(%s, %s, %s, %s, %s, %s)", values).fetchone()
    assert row
    return row[0], row[1]


def _lock_task(conn: psycopg.Connection[Any], tenant: int, task: int, epoch: int) -> bool:
    row = conn.execute("SELECT lock_task(%s, %s, %s, %s)", (tenant, CONVERSATION, task, epoch)).fetchone()
    return row == (True,)


def _lock_action(conn: psycopg.Connection[Any], build: Builder, task: int, epoch: int, event: int) -> dict[str, Any]:
    with conn.cursor(row_factory=dict_row) as cursor:
        values = (build.tenant, CONVERSATION, task, epoch, event)
        row = cursor.execute("SELECT * FROM lock_action(%s, %s, %s, %s, %s)", values).fetchone()
    assert row
    return row


def _run(database: str, query: str, *values: Any) -> None:
    with psycopg.connect(database) as own:
        own.execute(query.encode(), values)


def _wait_until_blocked(conn: psycopg.Connection[Any]) -> None:
    assert wait_until(lambda: conn.execute(WAITING).fetchone() == (1,), WAITS)
