"""A crash of PostgreSQL loses commits that did not wait for the disk, and no claim of a change."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bench.harness.servers import signal_tree
from console.up.embedded import Postgres, Valkey
from shared.db.core.migrate import migrate
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness

STATES = "SELECT t.state, t.attempts, a.state FROM tasks t JOIN actions a USING (event_id)"


@pytest.fixture
def harness(own_postgres: Postgres, own_valkey: Valkey, tmp_path: Path) -> Iterator[Harness]:
    """A Mailroom on a PostgreSQL that brings such commits to its disk ten seconds later."""
    migrate(own_postgres.url)
    with psycopg.connect(own_postgres.url, autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        conn.execute("SELECT pg_reload_conf()")
        conn.execute("CHECKPOINT")
    harness = Harness(own_postgres.url, own_valkey.url, tmp_path)
    yield harness
    harness.close()


def crash(postgres: Postgres) -> None:
    """Kill all its processes at once, and start it again."""
    signal_tree(postgres, signal.SIGKILL)
    postgres.process.wait()
    postgres.start()


def test_a_lost_end_is_found_at_front_and_not_sent_again(harness: Harness, own_postgres: Postgres) -> None:
    harness.user(harness.tenant("cmp_acme"), NORA)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.work()
    assert harness.sql(STATES) == [("done", 1, "confirmed")]
    crash(own_postgres)
    assert harness.sql(STATES) == [("running", 1, "intent")]
    harness.sql("UPDATE tasks SET lease_until = now() - interval '1 second'")
    harness.sweep("take_back")
    harness.work()
    assert harness.sql(STATES) == [("done", 2, "confirmed")]
    assert len(harness.writes()) == 1


def test_the_claim_of_a_change_is_not_lost(harness: Harness, own_postgres: Postgres) -> None:
    harness.user(harness.tenant("cmp_acme"), NORA)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    [(task_id,)] = harness.sql("SELECT id FROM tasks")
    assert harness.claim(task_id)
    crash(own_postgres)
    assert harness.sql(STATES) == [("running", 1, "planned")]  # else a second attempt would have the same epoch
    harness.sql("UPDATE tasks SET lease_until = now() - interval '1 second'")
    harness.sweep("take_back")
    harness.work()
    assert harness.sql(STATES) == [("done", 2, "confirmed")]
    assert len(harness.writes()) == 1
