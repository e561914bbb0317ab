"""PostgreSQL is down when attempts end: they are settled when it is back, and nothing is repeated."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest

from shared import queue
from shared.db.core.migrate import migrate
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.deployment import CLEAN, TIMEOUT, Deployment, Program
from tests.integration.pipeline.harness import Harness

if TYPE_CHECKING:
    from pathlib import Path

    from console.up.embedded import Postgres

#: Remaining seconds of the lease that ends during the outage.
LEFT_SECONDS = 5.0
LEASE = "UPDATE tasks SET lease_until = now() + %s * interval '1 second' WHERE id = %s"


@dataclass(frozen=True, kw_only=True)
class StoppedWorker:
    """A worker that stopped itself at a failpoint of its task."""

    task_id: int
    worker: Program


@pytest.mark.timeout(180)
def test_attempts_that_ended_in_an_outage_are_settled_after_it(
    own_postgres: Postgres, redis_db: str, tmp_path: Path
) -> None:
    migrate(own_postgres.url)
    deployment = Deployment(Harness(own_postgres.url, redis_db, tmp_path / "files"), tmp_path, LEASE_SECONDS="120")
    try:
        deployment.harness.user(deployment.harness.tenant("cmp_acme"), NORA)
        go_through_an_outage(deployment, own_postgres)
    finally:
        deployment.close()


def go_through_an_outage(deployment: Deployment, postgres: Postgres) -> None:
    harness = deployment.harness
    to = [{"handle": NORA, "role": "to"}]
    harness.send("inbound_received", "cmp_acme", recipients=to, expect="archived", count=4)
    harness.record()
    ids = [task_id for (task_id,) in harness.sql("SELECT id FROM tasks ORDER BY id")]
    unread, patched, expired, stopped = all_four = [
        worker_stopped_at(deployment, point, task_id)
        for task_id, point in zip(ids, ("claimed_before_run", *["patched_before_confirm"] * 3), strict=True)
    ]
    sweeper = deployment.sweeper()
    sweeper.wait_for("sweeping")
    for each in all_four:
        each.worker.wait_until_frozen()
    assert len(harness.writes()) == 3
    harness.sql(LEASE, LEFT_SECONDS, expired.task_id)
    kill_with_sessions(postgres)
    killed = time.monotonic()
    for each in all_four:
        each.worker.resume()
    stopped.worker.stop()
    for each in all_four:
        each.worker.wait_for("settling_waits")
    time.sleep(max(0.0, killed + LEFT_SECONDS - time.monotonic()))
    postgres.start()
    back = time.monotonic()
    deployment.worker()  # for the tasks that were given back

    own = [each.task_id for each in (unread, patched, expired)]
    deployment.wait_until(lambda: states(deployment, own) == [("done", 1)] * len(own), "all three are done")
    print(f"outage: settled {time.monotonic() - back:.1f} s after PostgreSQL was back")
    assert states(deployment, [stopped.task_id]) == [("running", 1)]
    assert harness.sql("SELECT outcome FROM attempts WHERE task_id = %s", expired.task_id) == [("done",)]
    assert len(harness.writes()) == 4
    harness.sql(LEASE, -1, stopped.task_id)
    harness.sweep("take_back")  # the sweeper alone gives the workers more time
    deployment.settle()
    assert deployment.verdict() == CLEAN
    assert len(harness.writes()) == 4
    assert harness.one("SELECT value::int FROM counters WHERE name = 'rescued'") == 1


def kill_with_sessions(postgres: Postgres) -> None:
    """Kill PostgreSQL with its sessions: a busy session would finish its work without the main process."""
    sessions = psutil.Process(postgres.pid).children(recursive=True)
    postgres.kill()
    for session in sessions:
        with suppress(psutil.NoSuchProcess):
            session.kill()
    psutil.wait_procs(sessions, TIMEOUT)


def worker_stopped_at(deployment: Deployment, point: str, task_id: int) -> StoppedWorker:
    name = f"task_{task_id}"
    worker = deployment.worker(consumes=name, crash_at=f"{point}:stop")
    deployment.send_message(queue.RUN_TASK, task_id, consumes=name)
    return StoppedWorker(task_id=task_id, worker=worker)


def states(deployment: Deployment, task_ids: list[int]) -> list[tuple[str, int]]:
    return deployment.harness.sql("SELECT state, attempts FROM tasks WHERE id = ANY(%s) ORDER BY id", task_ids)
