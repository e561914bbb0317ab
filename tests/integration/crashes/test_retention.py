"""A worker dies between a file's end and the row that names it: nothing points at a missing file, and none is left."""

from __future__ import annotations

import signal
from pathlib import Path

from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.site import CLEAN, Site
from workers.sweeping.retention import delete_expired


def test_a_file_whose_end_was_not_written_down_is_looked_for_again(site: Site) -> None:
    rig = site.rig
    to = [{"handle": NORA, "role": "to"}]
    rig.send("inbound_received", "cmp_acme", recipients=to, attachment_count=2, expect="archived")
    rig.record()
    rig.work()
    rig.sql("UPDATE events SET received_at = now() - interval '11 days'")
    site.environment["RETENTION_EVENTS_DAYS"] = "10"
    worker = site.worker(consumes="caught", crash_at="deleted_before_forgotten")
    site.tell(queue.EXPIRE, consumes="caught")
    worker.died_of(signal.SIGKILL)
    assert stored(rig.settings.storage) == []
    assert rig.sql("SELECT 1 FROM attachments") == []
    assert rig.one("SELECT count(*)::int FROM expired_files") == 2
    rig.sql("UPDATE expired_files SET deleting_until = now()")  # five minutes later
    delete_expired(rig.resources)
    assert rig.one("SELECT count(*)::int FROM expired_files") == 0
    assert site.verdict() == CLEAN


def stored(url: str) -> list[Path]:
    return [path for path in Path(url.removeprefix("file://")).rglob("*") if path.is_file()]
