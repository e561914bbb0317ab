"""Processes are killed or frozen while they hold work: others do it within twenty seconds, whatever the lease."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.deployment import CLEAN, Deployment, wait_until
from tests.integration.pipeline.harness import Harness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG_LEASE = "120"
WITHIN = 20.0


@pytest.fixture
def deployment(database: str, redis_db: str, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment with the lease of production."""
    deployment = Deployment(Harness(database, redis_db, tmp_path / "files"), tmp_path, LEASE_SECONDS=LONG_LEASE)
    try:
        deployment.harness.user(deployment.harness.tenant("cmp_acme"), NORA)
        yield deployment
    finally:
        deployment.close()


def queued_task(deployment: Deployment) -> int:
    """Record an event; the message of its task is lost, as one that a worker took before it died."""
    harness = deployment.harness
    harness.send("inbound_received", "cmp_acme", recipients=[{"handle": NORA, "role": "to"}], expect="archived")
    harness.record()
    harness.messages.sent.clear()
    return int(harness.one("SELECT max(id) FROM tasks"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("point", ["claimed_before_run", "intent_before_patch", "patched_before_confirm"])
def test_what_a_killed_worker_held_is_done_within_twenty_seconds(deployment: Deployment, point: str) -> None:
    held, taken = queued_task(deployment), queued_task(deployment)
    deployment.sweeper().wait_for("sweeping")
    deployment.worker()
    deployment.wait_until(lambda: deployment.harness.one("SELECT count(*)::int FROM processes") == 2, "both run")
    frozen = deployment.worker(consumes="own", crash_at=f"{point}:stop")
    deployment.send_message(queue.RUN_TASK, held, consumes="own")
    frozen.wait_until_frozen()
    frozen.end()
    killed_at = time.monotonic()
    deployment.harness.sql(
        "UPDATE tasks SET lease_until = now() + interval '30 seconds', sends = 1 WHERE id = %s AND state = 'queued'",
        taken,
    )
    deployment.settle()
    assert time.monotonic() - killed_at < WITHIN
    assert deployment.verdict() == CLEAN
    assert len(deployment.harness.writes()) == 2


@pytest.mark.timeout(180)
def test_a_frozen_recorder_does_not_keep_its_role(deployment: Deployment) -> None:
    deployment.sweeper().wait_for("sweeping")
    harness = deployment.harness
    frozen = deployment.recorder(crash_at="marked_before_record:stop")
    deployment.wait_until(lambda: harness.one("SELECT count(*)::int FROM processes") == 2, "both run")
    harness.receive(b'{"type": "inbound_received"}')
    deployment.send_message(queue.RECORD_INTAKE, consumes=queue.RECORD_QUEUE)
    deployment.wait_until(lambda: bool(harness.sql("SELECT 1 FROM in_flight_entries")), "it is being recorded")
    frozen.wait_until_frozen()
    wait_until(lambda: harness.resources.intake.depth() == 0, "the sweeper records", WITHIN + 5.0)
    frozen.resume()
    deployment.wait_until(lambda: harness.one("SELECT count(*)::int FROM deliveries") == 1, "recorded once")


@pytest.mark.timeout(180)
def test_a_frozen_sweeper_does_not_keep_its_role(deployment: Deployment) -> None:
    frozen = deployment.sweeper()
    frozen.wait_for("sweeping")
    deployment.wait_until(lambda: deployment.harness.one("SELECT count(*)::int FROM processes") == 1, "it is alive")
    stand_by = deployment.sweeper()
    deployment.wait_until(lambda: deployment.harness.one("SELECT count(*)::int FROM processes") == 2, "both are alive")
    frozen.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: "sweeping" in stand_by.output, "the other one takes over", WITHIN)
    frozen.resume()
    frozen.wait_for("sweeper_waits")
