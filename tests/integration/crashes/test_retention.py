"""A worker dies after it deleted a file and before it noted that: no row points at the file, and none is left."""

from __future__ import annotations

import signal
from pathlib import Path

from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.deployment import CLEAN, Deployment
from workers.sweeping.retention import delete_expired


def test_a_file_whose_end_was_not_written_down_is_looked_for_again(deployment: Deployment) -> None:
    harness = deployment.harness
    to = [{"handle": NORA, "role": "to"}]
    harness.send("inbound_received", "cmp_acme", recipients=to, attachment_count=2, expect="archived")
    harness.record()
    harness.work()
    harness.sql("UPDATE events SET received_at = now() - interval '11 days'")
    deployment.environment["RETENTION_EVENTS_DAYS"] = "10"
    worker = deployment.worker(consumes="caught", crash_at="deleted_before_forgotten")
    deployment.send_message(queue.EXPIRE, consumes="caught")
    worker.wait_for_death_by(signal.SIGKILL)
    assert stored_files(harness.settings.storage) == []
    assert harness.sql("SELECT 1 FROM attachments") == []
    assert harness.one("SELECT count(*)::int FROM expired_files") == 2
    harness.sql("UPDATE expired_files SET deleting_until = now()")  # five minutes later
    delete_expired(harness.resources)
    assert harness.one("SELECT count(*)::int FROM expired_files") == 0
    assert deployment.verdict() == CLEAN


def stored_files(url: str) -> list[Path]:
    return [path for path in Path(url.removeprefix("file://")).rglob("*") if path.is_file()]
