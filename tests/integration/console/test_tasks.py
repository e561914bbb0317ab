"""Tasks are listed and shown, and changed in bulk only after the plan is confirmed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.integration.console.rows import insert_archived_event, insert_event, insert_task

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.conftest import Mailroom


@pytest.fixture
def failed(mailroom: Mailroom, acme: str, conn: psycopg.Connection) -> list[int]:
    """Insert two failed tasks and a waiting one."""
    first, second = insert_event(conn, state="failed"), insert_event(conn, front_id="evt_2", state="failed")
    return [
        insert_task(conn, first),
        insert_task(conn, first, state="ready", code=None),
        insert_task(conn, second, code="front_rejected"),
    ]


def states(mailroom: Mailroom) -> list[str]:
    return [task["state"] for task in reversed(mailroom.json("task", "list"))]


def test_retry_by_code_runs_only_those_again(mailroom: Mailroom, failed: list[int]) -> None:
    result = mailroom("task", "retry", "--code", "front_unavailable", "--yes")
    assert result.stdout == "retry: 1 of 1\n"
    assert states(mailroom) == ["ready", "ready", "failed"]


def test_retry_by_number(mailroom: Mailroom, failed: list[int]) -> None:
    mailroom("task", "retry", failed[2], "--yes")
    assert states(mailroom) == ["failed", "ready", "ready"]


def test_a_task_that_did_not_fail_is_not_retried(mailroom: Mailroom, failed: list[int]) -> None:
    assert "no task to retry" in mailroom("task", "retry", failed[1], "--yes", code=3).stderr


def test_without_yes_and_without_a_terminal_the_plan_is_all_that_happens(mailroom: Mailroom, failed: list[int]) -> None:
    result = mailroom("task", "retry", "--state", "failed", code=2)
    assert "retry 2 tasks" in result.stderr
    assert "add --yes" in result.stderr
    assert states(mailroom) == ["failed", "ready", "failed"]


def test_a_dry_run_tells_the_plan(mailroom: Mailroom, failed: list[int]) -> None:
    result = mailroom("task", "discard", "--tenant", "Acme", "--reason", "a test", "--dry-run")
    assert "discard 3 tasks" in result.stderr
    assert "apply_action  failed  front_rejected  Acme" in result.stderr
    assert states(mailroom) == ["failed", "ready", "failed"]


def test_a_bulk_change_must_be_narrowed(mailroom: Mailroom, failed: list[int]) -> None:
    assert "--state, --code" in mailroom("task", "retry", "--yes", code=2).stderr


def test_discarding_needs_a_reason_and_keeps_it(mailroom: Mailroom, failed: list[int]) -> None:
    mailroom("task", "discard", failed[2], "--yes", code=2)
    mailroom("task", "discard", failed[2], "--yes", "--reason", " ", code=2)
    mailroom("task", "discard", failed[2], "--yes", "--reason", "was a test")
    assert states(mailroom) == ["failed", "ready", "discarded"]
    last = mailroom.json("event", "show", "evt_2")["timeline"][-1]
    assert (last["what"], "was a test" in last["detail"]) == ("task_discarded", True)


def test_tasks_of_a_paused_tenant_are_shown_as_parked(mailroom: Mailroom, failed: list[int]) -> None:
    mailroom("tenant", "pause", "Acme")
    assert [task["id"] for task in mailroom.json("task", "list", "--state", "parked")] == [failed[1]]


def test_more_tasks_than_a_slice_are_all_discarded(mailroom: Mailroom, acme: str, conn: psycopg.Connection) -> None:
    event = insert_event(conn, state="failed")
    conn.execute(
        "INSERT INTO tasks (tenant_id, event_id, kind, state, code) "
        "SELECT tenant_id, id, 'fetch_message', 'failed', 'bug' FROM events, generate_series(1, 150) WHERE id = %s",
        (event,),
    )
    result = mailroom("task", "discard", "--code", "bug", "--reason", "a test", "--yes")
    assert result.stdout == "discard: 150 of 150\n"


def test_a_task_shows_its_attempts(mailroom: Mailroom, acme: str, conn: psycopg.Connection) -> None:
    insert_archived_event(conn)
    last = mailroom.json("task", "list", "--kind", "apply_action")[0]["id"]
    document = mailroom.json("task", "show", last)
    assert (document["task"]["event"], [each["epoch"] for each in document["attempts"]]) == ("evt_1", [1, 2])
    page = mailroom("task", "show", last).stdout
    assert "front_unavailable" in page
    assert "97 left" in page


def test_an_unknown_task_matches_nothing(mailroom: Mailroom) -> None:
    mailroom("task", "show", 1, code=3)
    mailroom("task", "show", "one", code=2)


def test_an_account_without_a_name_is_told_by_its_number(
    mailroom: Mailroom, failed: list[int], conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Platforms run containers under numbers that no passwd file knows."""
    nameless(monkeypatch)
    mailroom("task", "retry", failed[0], "--yes")
    mailroom("task", "discard", failed[2], "--reason", "a test", "--yes")
    who = conn.execute("SELECT DISTINCT split_part(who, ',', 1) FROM journal").fetchall()
    assert who == conn.execute("SELECT DISTINCT who FROM audit").fetchall() == [(f"uid {os.getuid()}",)]


def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


def test_the_table_is_whole_at_80_columns(
    mailroom: Mailroom, acme: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.cli.output.PAGE_WIDTH", 80)
    insert_task(conn, insert_event(conn, front_id="body:" + "a1b2c3d4" * 8))
    insert_task(conn, insert_event(conn, front_id="evt_4rk1x0bw"), code="storage_unavailable")
    page = mailroom("task", "list").stdout.splitlines()
    assert page[0].split() == ["task", "made", "(UTC)", "kind", "state", "code", "attempts", "tenant", "event"]
    assert max(map(len, page)) <= 80
    assert any("failed" in line and line.rstrip().endswith("evt_4rk1x0bw") for line in page)
