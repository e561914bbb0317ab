"""A worker dies in the middle of a repair: another continues it, and nothing is fed or done twice."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from shared import queue
from tests.integration.crashes.deployment import CLEAN
from tests.integration.pipeline.harness import TO_NORA
from tests.integration.pipeline.repairing import ago, finish_repairs, mail, outcome, request_repair

if TYPE_CHECKING:
    from tests.integration.crashes.deployment import Deployment

LONG_SILENT = "UPDATE repairs SET claimed_until = now() - interval '1 second'"


def test_a_killed_workers_repair_is_gone_on_with_and_nothing_is_done_twice(deployment: Deployment) -> None:
    harness = deployment.harness
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, emitted_at=ago(50), expect="archived")
    harness.record()
    harness.work()
    mail(harness, count=40, deliver=False)
    request_repair(harness, harness.one("SELECT id FROM tenants"))
    worker = deployment.worker(crash_at="page_fed_before_next")
    deployment.send_message(queue.REPAIR, harness.one("SELECT id FROM repairs"), consumes=queue.WORK_QUEUE)
    worker.wait_for_death_by(signal.SIGKILL)
    assert outcome(harness) == [("running", 15, 1, 14, 14)]
    assert harness.one("SELECT count(*)::int FROM spooled_deliveries") == 14
    harness.sql(LONG_SILENT)
    finish_repairs(harness)
    assert outcome(harness) == [("done", 41, 1, 40, 40)]
    assert harness.one("SELECT count(*)::int FROM deliveries WHERE origin = 'repaired'") == 40
    assert deployment.verdict() == CLEAN
    assert len(harness.writes()) == 41
