"""The SQL functions that end actions, tasks and attempts, and derive the states of events."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.integration.schema.builders import CONVERSATION, Builder, insert, insert_id

CALL = {"method": "GET", "path": "/download/fil_1", "status": 404, "ms": 81, "budget_left": 97}
TASK = "SELECT state, code, detail, lease_until IS NULL, settled_at IS NOT NULL FROM tasks WHERE id = %s"
ACTION = "SELECT state, reason, settled_at IS NOT NULL FROM actions WHERE event_id = %s"
ATTEMPT = "SELECT outcome, code, detail, calls, ended_at IS NOT NULL FROM attempts WHERE task_id = %s AND epoch = %s"


@pytest.fixture
def event(build: Builder) -> int:
    """An event with an action."""
    event = build.event()
    build.action(event)
    return event


@pytest.fixture
def task(conn: psycopg.Connection[Any], build: Builder, event: int) -> int:
    """A running task of the event, with the attempt that runs it."""
    task = build.task(event, lease_until="infinity")
    insert(conn, "attempts", task_id=task, epoch=1, worker="w")
    return task


def row(conn: psycopg.Connection[Any], query: str, *values: Any) -> Any:
    return conn.execute(query.encode(), values).fetchone()


def unanswered(conn: psycopg.Connection[Any]) -> int:
    """Return the number of tasks without an answer from Front."""
    return int(row(conn, "SELECT count(*) FROM unanswered_tasks")[0])


def end_attempt(conn: psycopg.Connection[Any], build: Builder, event: int, task: int, *, answered: bool) -> bool:
    """End the attempt under lease epoch 1 as failed."""
    values = (task, 1, event, build.tenant, "failed", "not_found", "404", Jsonb([CALL]), answered)
    return bool(row(conn, "SELECT end_attempt(%s, %s, %s, %s, %s, %s, %s, %s, %s)", *values)[0])


def end_with_action(conn: psycopg.Connection[Any], build: Builder, event: int, task: int, epoch: int) -> Any:
    """Confirm the action and end its task under this lease epoch, after an answer from Front."""
    values = (build.tenant, CONVERSATION, task, epoch, event, "done", "confirmed", "archived", Jsonb([CALL]), True)
    return row(conn, "SELECT end_with_action(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", *values)[0]


def rest_task(conn: psycopg.Connection[Any], build: Builder, task: int, *, epoch: int) -> Any:
    """Let a task of a backlog rest for half a minute."""
    values = (task, epoch, build.tenant, False, 30)
    return row(conn, "SELECT rest_task(%s, %s, %s, %s, %s)", *values)[0]


def test_unstored_files_counts_those_of_the_family(conn: psycopg.Connection[Any], build: Builder) -> None:
    first, second, apart = build.event(), build.event("cnv_2"), build.event("cnv_3")
    build.merge(CONVERSATION, "cnv_2")
    for state in ("waiting", "failed", "stored"):
        build.attachment(first, state)
    build.attachment(second, "discarded", "cnv_2")
    build.attachment(second, "waiting", "cnv_2")
    build.attachment(apart, "waiting", "cnv_3")
    assert row(conn, "SELECT * FROM unstored_files(%s, %s)", build.tenant, CONVERSATION) == (2, 1, 1)
    assert row(conn, "SELECT * FROM unstored_files(%s, %s)", build.tenant + 1, CONVERSATION) == (0, 0, 0)


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        ("ready", (1, 0, 0)),
        ("queued", (1, 0, 0)),
        ("running", (1, 0, 0)),
        ("failed", (0, 1, 0)),
        ("discarded", (0, 0, 1)),
        ("done", (0, 0, 0)),
    ],
)
def test_unstored_files_counts_a_message_that_was_not_read(
    conn: psycopg.Connection[Any], build: Builder, state: str, counts: tuple[int, int, int]
) -> None:
    build.task(build.event(), state, "fetch_message")
    assert row(conn, "SELECT * FROM unstored_files(%s, %s)", build.tenant, CONVERSATION) == counts


@pytest.mark.parametrize(
    ("tasks", "state"),
    [
        (["failed", "running", "done"], "failed"),
        (["done", "ready"], "processing"),
        (["queued"], "processing"),
        (["running", "discarded"], "processing"),
        (["done", "discarded", "skipped", "superseded"], "done"),
        ([], "done"),
    ],
)
def test_update_event_state_derives_it_from_the_tasks(
    conn: psycopg.Connection[Any], build: Builder, tasks: list[str], state: str
) -> None:
    event = build.event()
    build.task(build.event(), "failed")  # the task of another event
    for number, each in enumerate(tasks):
        build.task(event, each, code=f"code_{number}")
    conn.execute("SELECT update_event_state(%s)", (event,))
    cause = "code_0" if state == "failed" else None
    assert row(conn, "SELECT state, cause FROM events WHERE id = %s", event) == (state, cause)


@pytest.mark.parametrize("state", ["ignored", "parked"])
def test_update_event_state_leaves_ignored_and_parked_events(
    conn: psycopg.Connection[Any], build: Builder, state: str
) -> None:
    event = build.event(state=state, cause="why")
    build.task(event, "failed")
    conn.execute("SELECT update_event_state(%s)", (event,))
    assert row(conn, "SELECT state, cause FROM events WHERE id = %s", event) == (state, "why")


def test_end_task_ends_the_task_of_its_attempt(conn: psycopg.Connection[Any], task: int) -> None:
    ended = row(conn, "SELECT end_task(%s, %s, %s, %s, %s)", task, 1, "failed", "not_found", "404")
    assert ended == (True,)
    assert row(conn, TASK, task) == ("failed", "not_found", "404", True, True)


def test_end_task_leaves_the_task_of_another_attempt(conn: psycopg.Connection[Any], build: Builder, task: int) -> None:
    waiting = build.task(build.event(), "ready", lease_until="infinity")
    for id_, epoch in ((task, 2), (waiting, 1)):
        before = row(conn, TASK, id_)
        assert row(conn, "SELECT end_task(%s, %s, %s, %s, %s)", id_, epoch, "done", None, None) == (False,)
        assert row(conn, TASK, id_) == before


def test_end_attempt_writes_its_end_and_updates_the_event(
    conn: psycopg.Connection[Any], build: Builder, event: int, task: int
) -> None:
    insert(conn, "attempts", task_id=task, epoch=2, worker="another")
    conn.execute("UPDATE tasks SET state = 'failed', code = 'not_found' WHERE id = %s", (task,))
    end_attempt(conn, build, event, task, answered=False)
    assert row(conn, ATTEMPT, task, 1) == ("failed", "not_found", "404", [CALL], True)
    assert row(conn, ATTEMPT, task, 2) == (None, None, None, [], False)
    assert row(conn, "SELECT state, cause FROM events WHERE id = %s", event) == ("failed", "not_found")


@pytest.mark.parametrize(("answered", "left"), [(True, 0), (False, 1)])
def test_end_attempt_empties_unanswered_tasks_when_front_answered(
    conn: psycopg.Connection[Any], build: Builder, event: int, task: int, answered: bool, left: int
) -> None:
    insert(conn, "unanswered_tasks", task_id=build.task(build.event(), "ready"))
    end_attempt(conn, build, event, task, answered=answered)
    assert unanswered(conn) == left


@pytest.mark.parametrize(
    ("columns", "due"),
    [
        ({"state": "ready"}, True),
        ({"state": "ready", "kind": "store_attachment"}, True),
        ({"state": "ready", "due_at": "infinity"}, False),
        ({"state": "ready", "kind": "store_attachment", "due_at": "infinity"}, False),
        ({"state": "queued"}, False),
    ],
)
def test_end_attempt_tells_whether_the_tenant_has_a_task_due(
    conn: psycopg.Connection[Any], build: Builder, event: int, task: int, columns: dict[str, str], due: bool
) -> None:
    build.task(build.event(), **columns)
    assert end_attempt(conn, build, event, task, answered=False) is due


def test_end_attempt_does_not_tell_of_another_tenants_task(
    conn: psycopg.Connection[Any], build: Builder, event: int, task: int
) -> None:
    second = insert_id(conn, "tenants", name="Second", company_id="cmp_second")
    for kind in ("apply_action", "store_attachment"):
        others = build.event(tenant_id=second, company_id="cmp_second")
        build.task(others, "ready", kind, tenant_id=second)
    assert end_attempt(conn, build, event, task, answered=False) is False


@pytest.mark.parametrize("column", ["not_before", "backlog_not_before"])
def test_end_attempt_tells_of_no_task_while_the_budget_holds_it_back(
    conn: psycopg.Connection[Any], build: Builder, event: int, task: int, column: str
) -> None:
    build.task(build.event(), state="ready")
    conn.execute(f"UPDATE tenants SET {column} = now() + interval '1 second'".encode())
    assert end_attempt(conn, build, event, task, answered=False) is False


@pytest.mark.parametrize(("live", "held_back"), [(False, (False, True)), (True, (True, False))])
def test_rest_tenant_holds_a_backlog_back_or_all_work(
    conn: psycopg.Connection[Any], build: Builder, live: bool, held_back: tuple[bool, bool]
) -> None:
    for seconds in (30, 10):  # a longer rest stays
        conn.execute("SELECT rest_tenant(%s, %s, %s)", (build.tenant, live, seconds))
    later = "> now() + interval '20 seconds'"
    assert row(conn, f"SELECT not_before {later}, backlog_not_before {later} FROM tenants") == held_back
    assert row(conn, "SELECT at_limit_at IS NOT NULL FROM tenants") == (True,)


def test_rest_task_puts_the_task_back_as_it_was(conn: psycopg.Connection[Any], build: Builder, task: int) -> None:
    conn.execute("UPDATE tasks SET attempts = 1, due_at = '2026-01-01' WHERE id = %s", (task,))
    assert rest_task(conn, build, task, epoch=1) is True
    assert row(conn, "SELECT state, attempts, due_at = '2026-01-01' FROM tasks") == ("ready", 0, True)
    assert row(conn, "SELECT count(*) FROM attempts") == (0,)
    assert row(conn, "SELECT backlog_not_before > now() FROM tenants") == (True,)


def test_rest_task_leaves_the_task_of_another_attempt(conn: psycopg.Connection[Any], build: Builder, task: int) -> None:
    assert rest_task(conn, build, task, epoch=2) is False
    assert row(conn, "SELECT count(*) FROM attempts") == (1,)
    assert row(conn, "SELECT backlog_not_before > now() FROM tenants") == (False,)


def test_settle_action_ends_the_action_of_the_event_alone(
    conn: psycopg.Connection[Any], build: Builder, event: int
) -> None:
    another = build.event()
    build.action(another)
    conn.execute("SELECT settle_action(%s, %s, %s)", (event, "skipped", "nobody matched"))
    assert row(conn, ACTION, event) == ("skipped", "nobody matched", True)
    assert row(conn, ACTION, another) == ("planned", "matched", False)


def test_end_with_action_ends_action_task_attempt_and_event(
    conn: psycopg.Connection[Any], build: Builder, event: int, task: int
) -> None:
    insert(conn, "unanswered_tasks", task_id=task)
    assert end_with_action(conn, build, event, task, 1) is False
    assert row(conn, ACTION, event) == ("confirmed", "archived", True)
    assert row(conn, TASK, task) == ("done", None, None, True, True)
    assert row(conn, ATTEMPT, task, 1) == ("done", None, None, [CALL], True)
    assert row(conn, "SELECT state FROM events WHERE id = %s", event) == ("done",)
    assert unanswered(conn) == 0


def test_end_with_action_tells_whether_the_tenant_has_a_task_due(
    conn: psycopg.Connection[Any], build: Builder, event: int, task: int
) -> None:
    build.task(build.event(), "ready")
    assert end_with_action(conn, build, event, task, 1) is True


def test_end_with_action_changes_nothing_when_another_attempt_owns_the_task(
    conn: psycopg.Connection[Any], build: Builder, event: int, task: int
) -> None:
    insert(conn, "unanswered_tasks", task_id=task)
    assert end_with_action(conn, build, event, task, 2) is None
    assert row(conn, ACTION, event) == ("planned", "matched", False)
    assert row(conn, TASK, task) == ("running", None, None, False, False)
    assert row(conn, ATTEMPT, task, 1) == (None, None, None, [], False)
    assert unanswered(conn) == 1


def test_end_with_action_waits_for_the_lock_of_the_conversation(
    conn: psycopg.Connection[Any], other: psycopg.Connection[Any], build: Builder, event: int, task: int
) -> None:
    conn.execute("SET lock_timeout = '100ms'")
    with other.transaction():
        other.execute("SELECT lock_conversation(%s, %s)", (build.tenant, CONVERSATION))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            end_with_action(conn, build, event, task, 1)
    assert end_with_action(conn, build, event, task, 1) is False
