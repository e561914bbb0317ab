"""A worker that dies in the middle of a repair: another goes on, and nothing is fed or done twice."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from shared import queue
from tests.integration.crashes.site import CLEAN
from tests.integration.pipeline.mending import ago, ask, follow, mail, outcome
from tests.integration.pipeline.rig import TO_NORA

if TYPE_CHECKING:
    from tests.integration.crashes.site import Site

LONG_SILENT = "UPDATE repairs SET claimed_until = now() - interval '1 second'"


def test_a_killed_workers_repair_is_gone_on_with_and_nothing_is_done_twice(site: Site) -> None:
    rig = site.rig
    rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, emitted_at=ago(50), expect="archived")
    rig.record()
    rig.work()
    mail(rig, count=40, deliver=False)
    ask(rig, rig.one("SELECT id FROM tenants"))
    worker = site.worker(crash_at="page_fed_before_next")
    site.tell(queue.REPAIR, rig.one("SELECT id FROM repairs"), consumes=queue.WORK_QUEUE)
    worker.died_of(signal.SIGKILL)
    assert outcome(rig) == [("running", 15, 1, 14, 14)]
    assert rig.one("SELECT count(*)::int FROM spooled_deliveries") == 14
    rig.sql(LONG_SILENT)
    follow(rig)
    assert outcome(rig) == [("done", 41, 1, 40, 40)]
    assert rig.one("SELECT count(*)::int FROM deliveries WHERE origin = 'repaired'") == 40
    assert site.verdict() == CLEAN
    assert len(rig.writes()) == 41
