"""Tasks that break whoever runs them: each ends as failed with a code, and the work behind it goes on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from shared import queue
from shared.db.tasks import rescue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.site import CLEAN

if TYPE_CHECKING:
    from tests.integration.crashes.site import Site

BREAKS = ("error", "memory", "exit")
EXPIRE = "UPDATE tasks SET lease_until = now() - interval '1 second' WHERE id = %s"


def tasks(site: Site, count: int) -> list[int]:
    """Recorded events with one task each."""
    to = [{"handle": NORA, "role": "to"}]
    site.rig.send("inbound_received", "cmp_acme", recipients=to, count=count)
    site.rig.record()
    return [task_id for (task_id,) in site.rig.sql("SELECT id FROM tasks ORDER BY id")]


def ended(site: Site, *task_ids: int) -> list[tuple[str, str | None]]:
    return site.rig.sql("SELECT state, code FROM tasks WHERE id = ANY(%s) ORDER BY id", list(task_ids))


def test_a_task_that_breaks_fails_and_its_worker_runs_the_next(site: Site) -> None:
    ids = tasks(site, 2 * len(BREAKS))
    poison, behind = ids[::2], ids[1::2]
    workers = [site.worker(consumes=how, crash_at=f"claimed_before_run:{how}", slots=1) for how in BREAKS]
    for how, first, second in zip(BREAKS, poison, behind, strict=True):
        site.tell(queue.RUN_TASK, first, consumes=how)
        site.tell(queue.RUN_TASK, second, consumes=how)
    site.settle()
    assert ended(site, *poison) == [("failed", "bug")] * len(BREAKS)
    assert ended(site, *behind) == [("done", None)] * len(BREAKS)
    for worker in workers:
        worker.stop()
    assert site.verdict() == CLEAN


def test_a_task_that_kills_its_worker_for_the_fifth_time_fails_and_the_others_are_done(site: Site) -> None:
    poison, other = tasks(site, 2)
    for _ in range(rescue.MAX_WORKER_DEATHS - 1):
        site.rig.claim(poison)
        site.rig.sql(EXPIRE, poison)
        site.rig.sweep("take_back")
    dying = site.worker(consumes="deadly", crash_at="claimed_before_run:segv")
    site.tell(queue.RUN_TASK, poison, consumes="deadly")
    dying.died_of(signal.SIGSEGV)
    site.worker()
    site.tell(queue.RUN_TASK, other, consumes=queue.WORK_QUEUE)
    site.until(lambda: ended(site, other) == [("done", None)], "the other task is done")
    site.rig.sql(EXPIRE, poison)
    site.rig.sweep("take_back")
    assert ended(site, poison) == [("failed", rescue.WORKER_LOST)]
    assert site.rig.one("SELECT count(*)::int FROM attempts WHERE task_id = %s", poison) == rescue.MAX_WORKER_DEATHS
    assert site.verdict() == CLEAN
