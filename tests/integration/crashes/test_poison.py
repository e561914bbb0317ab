"""Poison tasks break their workers: each task ends as failed with a code, and later work goes on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from shared import queue
from shared.db.tasks import rescue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.deployment import CLEAN

if TYPE_CHECKING:
    from tests.integration.crashes.deployment import Deployment

BREAKS = ("error", "memory", "exit")
EXPIRE = "UPDATE tasks SET lease_until = now() - interval '1 second' WHERE id = %s"


def tasks(deployment: Deployment, count: int) -> list[int]:
    """Record events with one task each and return the tasks."""
    to = [{"handle": NORA, "role": "to"}]
    deployment.harness.send("inbound_received", "cmp_acme", recipients=to, count=count)
    deployment.harness.record()
    return [task_id for (task_id,) in deployment.harness.sql("SELECT id FROM tasks ORDER BY id")]


def end_of(deployment: Deployment, *task_ids: int) -> list[tuple[str, str | None]]:
    return deployment.harness.sql("SELECT state, code FROM tasks WHERE id = ANY(%s) ORDER BY id", list(task_ids))


def test_a_task_that_breaks_fails_and_its_worker_runs_the_next(deployment: Deployment) -> None:
    ids = tasks(deployment, 2 * len(BREAKS))
    poison, behind = ids[::2], ids[1::2]
    workers = [deployment.worker(consumes=how, crash_at=f"claimed_before_run:{how}", slots=1) for how in BREAKS]
    for how, first, second in zip(BREAKS, poison, behind, strict=True):
        deployment.send_message(queue.RUN_TASK, first, consumes=how)
        deployment.send_message(queue.RUN_TASK, second, consumes=how)
    deployment.settle()
    assert end_of(deployment, *poison) == [("failed", "bug")] * len(BREAKS)
    assert end_of(deployment, *behind) == [("done", None)] * len(BREAKS)
    for worker in workers:
        worker.stop()
    assert deployment.verdict() == CLEAN


def test_a_task_that_kills_its_worker_for_the_fifth_time_fails_and_the_others_are_done(deployment: Deployment) -> None:
    poison, other = tasks(deployment, 2)
    for _ in range(rescue.MAX_WORKER_DEATHS - 1):
        deployment.harness.claim(poison)
        deployment.harness.sql(EXPIRE, poison)
        deployment.harness.sweep("take_back")
    dying = deployment.worker(consumes="deadly", crash_at="claimed_before_run:segv")
    deployment.send_message(queue.RUN_TASK, poison, consumes="deadly")
    dying.wait_for_death_by(signal.SIGSEGV)
    deployment.worker()
    deployment.send_message(queue.RUN_TASK, other, consumes=queue.WORK_QUEUE)
    deployment.wait_until(lambda: end_of(deployment, other) == [("done", None)], "the other task is done")
    deployment.harness.sql(EXPIRE, poison)
    deployment.harness.sweep("take_back")
    assert end_of(deployment, poison) == [("failed", rescue.WORKER_LOST)]
    assert (
        deployment.harness.one("SELECT count(*)::int FROM attempts WHERE task_id = %s", poison)
        == rescue.MAX_WORKER_DEATHS
    )
    assert deployment.verdict() == CLEAN
