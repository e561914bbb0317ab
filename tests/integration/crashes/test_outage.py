"""PostgreSQL is away at the very moment attempts end: they are settled when it is back, and nothing is repeated."""

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
from tests.integration.crashes.site import CLEAN, PATIENCE, Program, Site
from tests.integration.pipeline.rig import Rig

if TYPE_CHECKING:
    from pathlib import Path

    from console.up.embedded import Postgres

#: What is left of the lease that runs out in the outage.
LEFT_SECONDS = 5.0
LEASE = "UPDATE tasks SET lease_until = now() + %s * interval '1 second' WHERE id = %s"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A worker that stopped itself at a point of its task."""

    task_id: int
    worker: Program


@pytest.mark.timeout(180)
def test_what_ended_while_postgresql_was_away_is_settled_when_it_is_back(
    own_postgres: Postgres, redis_db: str, tmp_path: Path
) -> None:
    migrate(own_postgres.url)
    site = Site(Rig(own_postgres.url, redis_db, tmp_path / "files"), tmp_path, LEASE_SECONDS="120")
    try:
        site.rig.user(site.rig.tenant("cmp_acme"), NORA)
        go_through_an_outage(site, own_postgres)
    finally:
        site.close()


def go_through_an_outage(site: Site, postgres: Postgres) -> None:
    rig = site.rig
    to = [{"handle": NORA, "role": "to"}]
    rig.send("inbound_received", "cmp_acme", recipients=to, expect="archived", count=4)
    rig.record()
    ids = [task_id for (task_id,) in rig.sql("SELECT id FROM tasks ORDER BY id")]
    unread, patched, expired, stopped = all_four = [
        running_at(site, point, task_id)
        for task_id, point in zip(ids, ("claimed_before_run", *["patched_before_confirm"] * 3), strict=True)
    ]
    sweeper = site.sweeper()
    sweeper.wait_for("sweeping")
    for each in all_four:
        each.worker.froze()
    assert len(rig.writes()) == 3
    rig.sql(LEASE, LEFT_SECONDS, expired.task_id)
    kill_whole(postgres)
    killed = time.monotonic()
    for each in all_four:
        each.worker.thaw()
    stopped.worker.stop()
    for each in all_four:
        each.worker.wait_for("settling_waits")
    time.sleep(max(0.0, killed + LEFT_SECONDS - time.monotonic()))
    postgres.start()
    back = time.monotonic()
    site.worker()  # for what was given back

    own = [each.task_id for each in (unread, patched, expired)]
    site.until(lambda: states(site, own) == [("done", 1)] * len(own), "all three are done")
    print(f"outage: settled {time.monotonic() - back:.1f} s after PostgreSQL was back")
    assert states(site, [stopped.task_id]) == [("running", 1)]
    assert rig.sql("SELECT outcome FROM attempts WHERE task_id = %s", expired.task_id) == [("done",)]
    assert len(rig.writes()) == 4
    rig.sql(LEASE, -1, stopped.task_id)
    rig.sweep("take_back")  # the sweeper itself leaves the workers more time
    site.settle()
    assert site.verdict() == CLEAN
    assert len(rig.writes()) == 4
    assert rig.one("SELECT value::int FROM counters WHERE name = 'rescued'") == 1


def kill_whole(postgres: Postgres) -> None:
    """Its sessions too: one that has work to do would end it without the main process."""
    sessions = psutil.Process(postgres.pid).children(recursive=True)
    postgres.kill()
    for session in sessions:
        with suppress(psutil.NoSuchProcess):
            session.kill()
    psutil.wait_procs(sessions, PATIENCE)


def running_at(site: Site, point: str, task_id: int) -> Running:
    name = f"task_{task_id}"
    worker = site.worker(consumes=name, crash_at=f"{point}:stop")
    site.tell(queue.RUN_TASK, task_id, consumes=name)
    return Running(task_id=task_id, worker=worker)


def states(site: Site, task_ids: list[int]) -> list[tuple[str, int]]:
    return site.rig.sql("SELECT state, attempts FROM tasks WHERE id = ANY(%s) ORDER BY id", task_ids)
