"""A job changes the tasks that matched when it was planned, and no others, a few at a time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from console.access.actor import ROLES, Actor, NotAllowed, command_line_actor
from console.operations import jobs as operations
from console.operations.audited import in_transaction
from console.operations.tasks import ReasonMissing
from shared.db import jobs
from shared.db.jobs import Claimed, Plan
from shared.db.reading.filters import Filter
from shared.db.tenants import tenants
from shared.errors import Fenced
from tests.integration.console.rows import insert_event, insert_task

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.conftest import Mailroom

OPERATOR = command_line_actor("root")
FAILED = Filter(state="failed")


@pytest.fixture
def failed(acme: str, conn: psycopg.Connection) -> list[int]:
    """Insert three failed tasks of three conversations."""
    return [
        insert_task(conn, insert_event(conn, front_id=f"evt_{n}", conversation_id=f"cnv_{n}", state="failed"))
        for n in range(3)
    ]


def plan(conn: psycopg.Connection, wanted: Filter = FAILED, actor: Actor = OPERATOR, **changed: Any) -> int:
    """Plan a job and return its id."""
    values = {"verb": "retry", "words": "state:failed", "requested_by": actor.name} | changed
    return operations.plan_job(in_transaction(conn), actor, wanted, Plan(**values))


def step(conn: psycopg.Connection, job: int, name: str) -> None:
    operations.step_job(in_transaction(conn), OPERATOR, job, name)


def claimed(conn: psycopg.Connection, job: int) -> Claimed:
    """Take the job as a worker does, also when another one has it."""
    conn.execute("UPDATE jobs SET claimed_until = '-infinity'")
    found = jobs.claim(conn, job)
    assert found
    return found


def run(conn: psycopg.Connection, job: int) -> int:
    """Carry one slice out and return how many tasks it settled."""
    with conn.transaction():
        return jobs.run_slice(conn, claimed(conn, job))


def states(conn: psycopg.Connection) -> list[str]:
    return [state for (state,) in conn.execute("SELECT state FROM tasks ORDER BY id")]


def outcomes(conn: psycopg.Connection, job: int) -> list[str | None]:
    rows = conn.execute("SELECT outcome FROM job_items WHERE job_id = %s ORDER BY task_id", (job,))
    return [outcome for (outcome,) in rows]


def state_of(conn: psycopg.Connection, job: int) -> str:
    found = jobs.get(conn, job)
    assert found
    return found.state


def test_planning_changes_nothing(conn: psycopg.Connection, failed: list[int]) -> None:
    job = plan(conn)
    assert (states(conn), outcomes(conn, job), state_of(conn, job)) == (["failed"] * 3, [None] * 3, "planned")
    assert jobs.due(conn) == []


def test_a_task_that_fails_after_the_plan_is_not_in_the_job(conn: psycopg.Connection, failed: list[int]) -> None:
    job = plan(conn)
    insert_task(conn, insert_event(conn, front_id="evt_late", conversation_id="cnv_late", state="failed"))
    step(conn, job, "start")
    assert run(conn, job) == 3
    assert states(conn) == ["ready"] * 3 + ["failed"]


def test_a_task_that_somebody_took_meanwhile_moved_on(conn: psycopg.Connection, failed: list[int]) -> None:
    job = plan(conn)
    conn.execute("UPDATE tasks SET lease_epoch = lease_epoch + 1 WHERE id = %s", (failed[0],))
    conn.execute("UPDATE tasks SET state = 'done' WHERE id = %s", (failed[1],))
    step(conn, job, "start")
    run(conn, job)
    assert (outcomes(conn, job), states(conn)) == (["moved_on", "moved_on", "done"], ["failed", "done", "ready"])


def test_a_body_that_cannot_be_read_is_not_retried(conn: psycopg.Connection, failed: list[int]) -> None:
    conn.execute("UPDATE tasks SET kind = 'record', tenant_id = NULL WHERE id = %s", (failed[0],))
    job = plan(conn)
    step(conn, job, "start")
    run(conn, job)
    assert outcomes(conn, job) == ["not_retryable", "done", "done"]


def test_tasks_of_a_conversation_are_retried_one_at_a_time(conn: psycopg.Connection, failed: list[int]) -> None:
    conn.execute("UPDATE events SET conversation_id = 'cnv_1'")
    job = plan(conn)
    step(conn, job, "start")
    assert (run(conn, job), run(conn, job), states(conn)) == (1, 0, ["ready", "failed", "failed"])
    conn.execute("UPDATE tasks SET state = 'done' WHERE id = %s", (failed[0],))
    assert (run(conn, job), states(conn)) == (1, ["done", "ready", "failed"])


def test_a_parked_tenant_does_not_hold_the_others_up(conn: psycopg.Connection, failed: list[int]) -> None:
    conn.execute("UPDATE events SET conversation_id = 'cnv_1'")
    job = plan(conn)
    step(conn, job, "start")
    run(conn, job)
    conn.execute("UPDATE tenants SET parked_cause = 'paused'")
    assert run(conn, job) == 1


def test_no_more_tasks_are_in_work_than_leave_room_for_live_mail(
    conn: psycopg.Connection, failed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_IN_FLIGHT", 2)
    job = plan(conn)
    step(conn, job, "start")
    assert (run(conn, job), run(conn, job)) == (2, 0)
    conn.execute("UPDATE tasks SET state = 'done' WHERE state = 'ready'")
    assert run(conn, job) == 1


def test_a_job_keeps_to_its_rate(conn: psycopg.Connection, failed: list[int]) -> None:
    job = plan(conn, per_minute=2)
    step(conn, job, "start")
    assert (run(conn, job), run(conn, job)) == (2, 0)
    conn.execute("UPDATE job_items SET settled_at = settled_at - interval '61 seconds' WHERE outcome IS NOT NULL")
    assert run(conn, job) == 1


def test_a_job_is_done_when_its_last_task_has_ended(conn: psycopg.Connection, failed: list[int]) -> None:
    job = plan(conn)
    step(conn, job, "start")
    run(conn, job)
    run(conn, job)
    assert state_of(conn, job) == "running"
    conn.execute("UPDATE tasks SET state = 'done'")
    run(conn, job)
    assert state_of(conn, job) == "done"


def test_discarding_does_not_wait_for_anything(conn: psycopg.Connection, failed: list[int]) -> None:
    conn.execute("UPDATE events SET conversation_id = 'cnv_1'")
    job = plan(conn, verb="discard", reason="a test")
    step(conn, job, "start")
    assert [run(conn, job) for _ in range(4)] == [1, 1, 1, 0]
    assert (states(conn), state_of(conn, job)) == (["discarded"] * 3, "done")


def test_a_discard_needs_a_reason(conn: psycopg.Connection, failed: list[int]) -> None:
    with pytest.raises(ReasonMissing):
        plan(conn, verb="discard", reason="  ")


def test_a_job_needs_a_filter(conn: psycopg.Connection, failed: list[int]) -> None:
    with pytest.raises(operations.FilterTooWide):
        plan(conn, Filter())


def test_a_job_is_carried_out_by_one_at_a_time(conn: psycopg.Connection, failed: list[int]) -> None:
    job = plan(conn)
    step(conn, job, "start")
    assert jobs.due(conn) == [job]
    first = jobs.claim(conn, job)
    assert first
    assert (jobs.claim(conn, job), jobs.due(conn)) == (None, [])
    claimed(conn, job)  # the first worker was taken for dead
    with pytest.raises(Fenced), conn.transaction():
        jobs.run_slice(conn, first)


def test_pause_resume_and_cancel(conn: psycopg.Connection, failed: list[int]) -> None:
    job = plan(conn, per_minute=1)
    step(conn, job, "start")
    held = claimed(conn, job)
    step(conn, job, "pause")
    with pytest.raises(Fenced), conn.transaction():
        jobs.run_slice(conn, held)
    step(conn, job, "resume")
    run(conn, job)
    step(conn, job, "cancel")
    assert (outcomes(conn, job), jobs.due(conn)) == (["done", None, None], [])
    with pytest.raises(operations.JobMovedOn, match="is cancelled"):
        step(conn, job, "resume")


def test_a_job_takes_no_more_than_its_bound_and_says_so(
    conn: psycopg.Connection, failed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_ITEMS", 2)
    found = jobs.get(conn, plan(conn))
    assert found
    assert (found.total, found.has_more) == (2, True)


def test_a_viewer_plans_nothing_and_the_audit_says_so(conn: psycopg.Connection, failed: list[int]) -> None:
    viewer = Actor(name="eve@example.com", via="page", verbs=ROLES["viewer"])
    with pytest.raises(NotAllowed):
        plan(conn, actor=viewer)
    assert conn.execute("SELECT who, verb, allowed FROM audit").fetchall() == [("eve@example.com", "retry", False)]
    assert jobs.latest(conn, limit=1) == []


def test_an_actor_of_one_tenant_retries_no_task_of_another(conn: psycopg.Connection, failed: list[int]) -> None:
    other = tenants.add(conn, "Other", "cmp_other")
    nightly = Actor(name="nightly", via="api", verbs=ROLES["operator"], tenant_id=other)
    job = plan(conn, actor=nightly)
    assert outcomes(conn, job) == []
    assert conn.execute("SELECT tenant_id FROM jobs").fetchone() == (other,)
    with pytest.raises(NotAllowed):
        plan(conn, Filter(tenant_id=other + 1), actor=nightly)


def test_the_command_lists_shows_and_steps_jobs(
    mailroom: Mailroom, conn: psycopg.Connection, failed: list[int]
) -> None:
    job = plan(conn)
    mailroom("job", "start", job)
    assert mailroom("job", "watch", job).stdout == "retry: 3 of 3\n"
    assert mailroom.json("job", "show", job)["outcomes"] == {"done": 3}
    mailroom("job", "pause", job)
    mailroom("job", "cancel", job)
    mailroom("job", "cancel", job, code=1)
    assert [each["state"] for each in mailroom.json("job", "list")] == ["cancelled"]
    mailroom("job", "show", 99, code=3)


def test_a_job_that_waits_without_a_worker_is_left(
    mailroom: Mailroom, conn: psycopg.Connection, failed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["console.cli.job"], "PATIENCE_SECONDS", 0.1)
    conn.execute("UPDATE events SET conversation_id = 'cnv_1'")
    result = mailroom("task", "retry", "--state", "failed", "--yes", code=4)
    assert result.stdout == "retry: 1 of 3\n"
    assert "2 tasks of it wait" in result.stderr


def test_a_plan_that_nobody_confirms_is_cancelled(
    mailroom: Mailroom, conn: psycopg.Connection, failed: list[int]
) -> None:
    mailroom("task", "retry", "--state", "failed", code=2)
    assert [each["state"] for each in mailroom.json("job", "list")] == ["cancelled"]
