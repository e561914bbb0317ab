"""A worker without its lease writes nothing, and a task without its worker is tried again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.db.tasks import actions, leases, settling
from shared.db.tenants import connections
from shared.errors import Fenced
from tests.integration.pipeline.harness import Harness
from workers.attempts.run import run_task
from workers.steps import STEPS

NORA = "nora@acme.example"


@pytest.fixture
def task_id(harness: Harness) -> int:
    harness.user(harness.tenant("cmp_acme"), NORA)
    harness.send("inbound_received", "cmp_acme", recipients=[{"handle": NORA, "role": "to"}])
    harness.record()
    return int(harness.one("SELECT id FROM tasks"))


def lose_lease(harness: Harness) -> None:
    harness.sql("UPDATE tasks SET lease_until = now() - interval '1 second' WHERE state IN ('queued', 'running')")
    harness.sweep("take_back")


def test_a_task_is_claimed_by_one(harness: Harness, task_id: int) -> None:
    assert harness.claim(task_id) is not None
    assert harness.claim(task_id) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda conn, task: leases.finish(conn, task, "done"),
        lambda conn, task: leases.put_back(conn, task, seconds=1, counts=True),
        lambda conn, task: leases.renew(conn, task, lease_seconds=120),
        leases.lock,
        lambda conn, task: actions.lock_action(conn, task, changes=(), api_sources=()),
        lambda conn, task: settling.end_with_action(
            conn, task, state="done", action_state="confirmed", reason="", calls=[], answered=True
        ),
    ],
)
def test_a_worker_that_was_paused_beyond_its_lease_writes_nothing(harness: Harness, task_id: int, write: Any) -> None:
    paused = harness.claim(task_id)
    lose_lease(harness)
    assert harness.claim(task_id) is not None
    with pytest.raises(Fenced):
        harness.resources.pool.run(lambda conn: write(conn, paused))
    assert harness.sql("SELECT state, lease_epoch FROM tasks") == [("running", 2)]
    assert harness.sql("SELECT state FROM actions") == [("planned",)]


def test_a_lost_message_is_sent_again_and_counted(harness: Harness, task_id: int) -> None:
    assert harness.one("SELECT state FROM tasks") == "queued"
    harness.messages.sent.clear()
    lose_lease(harness)
    harness.work()
    assert harness.one("SELECT state FROM tasks WHERE id = %s", task_id) == "done"
    assert harness.one("SELECT value::int FROM counters WHERE name = 'rescued'") == 1


def test_each_send_doubles_the_wait_before_the_next(harness: Harness, task_id: int) -> None:
    waits = []
    for _ in range(3):
        waits.append(
            harness.one(
                "SELECT round(extract(epoch FROM lease_until - now()) / 30)::int FROM tasks WHERE id = %s", task_id
            )
        )
        lose_lease(harness)
        harness.resources.dispatcher.send_round()
    assert waits == [1, 2, 4]


def test_a_task_that_loses_its_worker_five_times_fails(harness: Harness, task_id: int) -> None:
    for _ in range(5):
        assert harness.claim(task_id) is not None
        lose_lease(harness)
    assert harness.sql("SELECT state, code FROM tasks") == [("failed", "worker_lost")]
    assert harness.sql("SELECT state FROM events") == [("failed",)]
    assert harness.sql("SELECT state FROM actions") == [("failed",)]


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(1), RecursionError(), KeyError("secret-value")])
def test_a_step_that_breaks_fails_its_task_and_not_its_worker(
    harness: Harness, task_id: int, error: BaseException
) -> None:
    def broken(_: Any) -> None:
        raise error

    run_task(harness.resources, {"apply_action": broken}, task_id)
    [(state, code, detail)] = harness.sql("SELECT state, code, detail FROM tasks")
    assert (state, code) == ("failed", "bug")
    assert type(error).__name__ in detail
    assert "secret-value" not in detail


def test_a_lease_lasts_as_long_as_the_setting_says(harness: Harness, task_id: int) -> None:
    resources = replace(harness.resources, settings=harness.settings.model_copy(update={"lease_seconds": 50}))
    lease = "SELECT round(extract(epoch FROM lease_until - now()))::int FROM tasks"
    lengths = []
    run_task(resources, {"apply_action": lambda _: lengths.append(harness.one(lease))}, task_id)
    assert lengths == [50]


def test_a_write_is_not_started_on_the_last_seconds_of_a_lease(harness: Harness, task_id: int) -> None:
    resources = replace(harness.resources, settings=harness.settings.model_copy(update={"lease_seconds": 14}))
    run_task(resources, STEPS, task_id)
    assert harness.writes() == []
    assert harness.sql("SELECT code, attempts FROM tasks") == [("lease_too_short", 0)]
    assert harness.sql("SELECT state FROM actions") == [("planned",)]


def test_running_a_task_twice_acts_once(harness: Harness, task_id: int) -> None:
    run_task(harness.resources, STEPS, task_id)
    run_task(harness.resources, STEPS, task_id)
    assert len(harness.writes()) == 1


def test_a_claim_brings_the_grant_as_it_stands(harness: Harness, task_id: int) -> None:
    harness.sql("UPDATE connections SET version = 7")
    claimed = harness.resources.pool.run_autocommit(lambda conn: leases.claim(conn, task_id, "test", lease_seconds=120))
    assert claimed is not None
    assert claimed.grant == harness.resources.pool.run(lambda conn: connections.read(conn, claimed.task.tenant_id))
    assert claimed.grant is not None
    assert claimed.grant.version == 7


def test_a_claim_of_a_tenant_without_connection_brings_none(harness: Harness, task_id: int) -> None:
    harness.sql("DELETE FROM connections")
    claimed = harness.resources.pool.run_autocommit(lambda conn: leases.claim(conn, task_id, "test", lease_seconds=120))
    assert claimed is not None
    assert claimed.grant is None
