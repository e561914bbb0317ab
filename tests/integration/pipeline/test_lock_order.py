"""All transactions lock several conversations in the same order."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from shared.db.tasks import manual_changes
from tests.integration.pipeline.test_actions import inbound

if TYPE_CHECKING:
    from tests.integration.pipeline.harness import Harness

NORA = "nora@acme.example"
TAKE = "SELECT {}(hashtextextended(%s, %s))"


@pytest.mark.parametrize("change", ["retry", "discard"])
def test_a_bulk_change_locks_conversations_in_the_recorders_order(harness: Harness, database: str, change: str) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    inbound(harness)
    inbound(harness)
    harness.record()
    harness.sql(
        "UPDATE events SET conversation_id = CASE id WHEN (SELECT min(id) FROM events) THEN 'cnv_b' ELSE 'cnv_a' END"
    )
    harness.sql("UPDATE tasks SET state = 'failed'")
    task_ids = [task_id for (task_id,) in harness.sql("SELECT id FROM tasks ORDER BY id")]
    apply = {
        "retry": lambda conn: manual_changes.retry(conn, task_ids, who="test"),
        "discard": lambda conn: manual_changes.discard(conn, task_ids, who="test", reason="test"),
    }[change]
    with psycopg.connect(database) as recorder:
        recorder.execute(TAKE.format("pg_advisory_xact_lock"), ("cnv_a", tenant))
        bulk = threading.Thread(target=harness.resources.pool.run, args=(apply,))
        bulk.start()
        wait_for_blocked_lock(harness)
        assert recorder.execute(TAKE.format("pg_try_advisory_xact_lock"), ("cnv_b", tenant)).fetchone() == (True,)
    bulk.join()
    assert harness.sql("SELECT 1 FROM tasks WHERE state = 'failed'") == []


def wait_for_blocked_lock(harness: Harness) -> None:
    """Wait until a session waits for an advisory lock."""
    deadline = time.monotonic() + 10
    while not harness.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
        assert time.monotonic() < deadline, "nobody waits for a conversation"
        time.sleep(0.01)
