"""A door dies while it handles a webhook: Front sends the webhook again, and it becomes one row.

No sweeper runs here, and traffic goes on. Only a sweeper finds an acknowledged delivery without a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest
import redis

from bench.harness.ports import free_port
from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.deployment import CLEAN, Deployment, wait_until
from tests.integration.pipeline.harness import Harness

if TYPE_CHECKING:
    from pathlib import Path

# After the crash: whether the delivery is in the intake, and whether a recorder has a message.
LEFT = {
    "received_before_keep": (False, False),
    "kept_before_answer": (True, None),  # another thread rings the bell at the same moment
    "kept_before_ring": (True, False),
}


@pytest.mark.parametrize("point", LEFT)
def test_a_door_that_dies_costs_front_a_retry_and_nothing_else(
    database: str, redis_db: str, tmp_path: Path, point: str
) -> None:
    port = free_port()
    door = f"http://127.0.0.1:{port}/webhooks/front"
    deployment = Deployment(
        Harness(database, redis_db, tmp_path / "files", door=door, retry_seconds=1, tries=20), tmp_path
    )
    try:
        die_at(deployment, redis_db, point, port)
    finally:
        deployment.close()


def die_at(deployment: Deployment, redis_url: str, point: str, port: int) -> None:
    harness = deployment.harness
    harness.user(harness.tenant("cmp_acme"), NORA)
    dying = deployment.door(port, crash_at=point)
    dying.wait_for("Started worker-1")
    [victim] = [each for each in psutil.Process(dying.process.pid).children() if "ingest" in " ".join(each.cmdline())]
    to = [{"handle": NORA, "role": "to"}]
    harness.send("inbound_received", "cmp_acme", recipients=to, expect="archived", wait=False)
    dying.wait_for(f"failpoint {point}: kill")
    wait_until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE, "the door is dead")
    with redis.Redis.from_url(redis_url) as client:
        kept, told = bool(harness.resources.intake.depth()), bool(client.llen(queue.RECORD_QUEUE))
    dying.end()
    assert (kept, told if LEFT[point][1] is not None else None) == LEFT[point]

    deployment.door(port)
    deployment.recorder()
    deployment.worker()
    if point == "kept_before_ring":
        deployment.sweeper()
    deployment.wait_until(lambda: harness.control("verdict")["pending"] == 0 and deployment.is_settled(), "all is done")
    assert deployment.verdict() == CLEAN
    assert harness.sql("SELECT state, count(*)::int FROM events GROUP BY 1") == [("done", 1)]
    assert len(harness.writes()) == 1
