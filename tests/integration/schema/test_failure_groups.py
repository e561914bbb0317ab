"""Tasks that fail in the same way are one group, with a state that somebody gives it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.integration.schema.builders import Builder

GROUPS = "SELECT kind, code, signature, state FROM failure_groups ORDER BY id"
ALIKE = [
    ("GET /conversations/cnv_1a: 404 in 81 ms", "GET /conversations/cnv_77: 404 in 12.5 ms"),
    ("no user with nora@acme.example", "no user with ole.b@other.example"),
    ("https://files.example/a?b=1 did not answer", "http://10.0.0.1:8080/ did not answer"),
    ('"one name" is no name', '"another" is no name'),
    ("delivery 89f9c5f9fdb55ccb29a2e61c9030f9cb", "delivery 00000000000000000000000000000001"),
    (None, ""),
]


def fail(conn: psycopg.Connection[Any], task: int, detail: str | None = "404", code: str = "not_found") -> None:
    conn.execute("UPDATE tasks SET state = 'failed', code = %s, detail = %s WHERE id = %s", (code, detail, task))


def groups(conn: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return conn.execute(GROUPS).fetchall()


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_failure_signature_leaves_out_what_differs_by_chance(
    conn: psycopg.Connection[Any], one: str | None, other: str
) -> None:
    row = conn.execute("SELECT failure_signature(%s) = failure_signature(%s)", (one, other)).fetchone()
    assert row == (True,)


def test_failure_signature_keeps_what_differs_in_kind(conn: psycopg.Connection[Any]) -> None:
    row = conn.execute("SELECT failure_signature('not found') = failure_signature('forbidden')").fetchone()
    assert row == (False,)


def test_find_failure_group_puts_like_failures_into_one_group(conn: psycopg.Connection[Any], build: Builder) -> None:
    event = build.event()
    tasks = [build.task(event) for _ in range(3)]
    fail(conn, tasks[0], "404 in 1 ms")
    fail(conn, tasks[1], "404 in 2 ms")
    fail(conn, tasks[2], "disk full", code="storage_full")
    build.task(event, state="failed", code="not_found", detail="404 in 3 ms")
    assert groups(conn) == [
        ("apply_action", "not_found", "<n> in <n> ms", "open"),
        ("apply_action", "storage_full", "disk full", "open"),
    ]
    rows = conn.execute("SELECT count(*) FROM tasks GROUP BY failure_group_id ORDER BY failure_group_id").fetchall()
    assert rows == [(3,), (1,)]


def test_a_group_that_was_fixed_is_open_again_as_regressed(conn: psycopg.Connection[Any], build: Builder) -> None:
    event = build.event()
    fail(conn, build.task(event))
    conn.execute("UPDATE failure_groups SET state = 'fixed'")
    fail(conn, build.task(event))
    assert conn.execute("SELECT state, regressed_at IS NOT NULL FROM failure_groups").fetchall() == [("open", True)]


@pytest.mark.parametrize(("until", "state"), [("1 hour", "ignored"), ("-1 hour", "open")])
def test_a_group_is_ignored_until_its_time(
    conn: psycopg.Connection[Any], build: Builder, until: str, state: str
) -> None:
    event = build.event()
    fail(conn, build.task(event))
    conn.execute("UPDATE failure_groups SET state = 'ignored', ignored_until = now() + %s::interval", (until,))
    fail(conn, build.task(event))
    assert [each[3] for each in groups(conn)] == [state]


def test_a_failure_within_the_minute_does_not_write_the_group(conn: psycopg.Connection[Any], build: Builder) -> None:
    event = build.event()
    fail(conn, build.task(event))
    written = conn.execute("SELECT xmin FROM failure_groups").fetchall()
    fail(conn, build.task(event))
    assert conn.execute("SELECT xmin FROM failure_groups").fetchall() == written
    conn.execute("UPDATE failure_groups SET last_seen = now() - interval '2 minutes'")
    fail(conn, build.task(event))
    assert conn.execute("SELECT last_seen > now() - interval '1 minute' FROM failure_groups").fetchall() == [(True,)]


def test_a_task_without_a_tenant_has_a_group(conn: psycopg.Connection[Any], build: Builder) -> None:
    event = build.event(tenant_id=None, state="failed")
    build.task(event, tenant_id=None, kind="record", state="failed", code="malformed_envelope", detail=None)
    assert groups(conn) == [("record", "malformed_envelope", "", "open")]
