"""Only deaths of recorders count against a delivery. An outage or a refused neighbour never leaves it unparsed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from shared.db.core.locks import RECORDER, Role
from shared.db.recording import statements
from shared.errors import StoreUnavailable
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.test_recording import receive
from workers.recording import recorder
from workers.recording.prefetch import DeliveryReader

TYPES = "SELECT type, count(*)::int FROM events GROUP BY 1"


def refuse_for_now(harness: Harness, times: int, record: Callable[[], int] | None = None) -> None:
    """Have PostgreSQL refuse events this many times."""
    harness.sql(
        "CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'busy' USING ERRCODE = 'lock_not_available'; END $$"
    )
    harness.sql("CREATE TRIGGER busy BEFORE INSERT ON events EXECUTE FUNCTION busy()")
    for _ in range(times):
        with pytest.raises(StoreUnavailable):
            (record or harness.record)()
    harness.sql("DROP TRIGGER busy ON events")


def test_a_long_outage_counts_against_no_delivery(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    for number in range(3):
        receive(harness, payload={"id": f"evt_{number}"})
    refuse_for_now(harness, times=2 * recorder.DEADLY_TRIES)
    assert harness.record() == 3
    assert harness.sql(TYPES) == [("inbound_received", 3)]
    assert harness.resources.pool.run(statements.tries_in_flight) == {}


def test_deliveries_of_a_refused_chunk_are_tried_alone(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    for number in range(3):
        receive(harness, payload={"id": f"evt_{number}"})
    refuse_for_now(harness, times=1)
    assert sorted(harness.resources.pool.run(statements.tries_in_flight).values()) == [0, 0, 0]


def test_looking_for_a_refused_delivery_counts_once_against_its_neighbours(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder killed at the end of the search counts as one death, not eight."""
    harness.tenant("cmp_acme")
    for number in range(32):
        receive(harness, payload={"id": f"evt_{number}"})
    harness.sql("ALTER TABLE events ADD CHECK (front_id <> 'evt_7')")
    counts: list[int] = []
    commit = recorder._commit_chunk

    def watched(*given: Any) -> set[int]:
        counts.extend(harness.resources.pool.run(statements.tries_in_flight).values())
        return commit(*given)

    monkeypatch.setattr(recorder, "_commit_chunk", watched)
    harness.record()
    assert set(counts) == {1}


def test_a_release_that_does_not_fit_its_database_counts_against_no_delivery(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    receive(harness)
    harness.sql("ALTER TABLE events RENAME TO moved")
    for _ in range(2 * recorder.DEADLY_TRIES):
        with pytest.raises(psycopg.errors.UndefinedTable):
            harness.record()
    harness.sql("ALTER TABLE moved RENAME TO events")
    harness.record()
    assert harness.sql(TYPES) == [("inbound_received", 1)]


def test_the_marks_of_what_was_lost_with_redis_go_when_nothing_waits(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    receive(harness, payload={"id": "evt_1"})
    refuse_for_now(harness, times=1)
    harness.resources.intake._redis.flushdb()
    assert harness.record() == 0
    assert harness.resources.pool.run(statements.tries_in_flight) == {}


def recorder_of_single_deliveries(harness: Harness) -> recorder.Recorder:
    """Return a recorder with chunks of one delivery, so that it always prefetches the next one."""
    pool, intake = harness.resources.pool, harness.resources.intake
    role = Role(harness.settings.database_url.get_secret_value(), RECORDER, process="this test")
    reader, send_new = DeliveryReader(pool, intake, 1), harness.resources.dispatcher.send_new
    count = harness.resources.figures.note_recorded
    return recorder.Recorder(pool, intake, role, send_new, reader, count=count, publish=lambda: None)


def test_a_prefetched_delivery_is_recorded_in_its_turn(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    names = [f"evt_{number}" for number in range(5)]
    for name in names:
        receive(harness, payload={"id": name})
    recorder = recorder_of_single_deliveries(harness)
    assert recorder.drain() == len(names)
    recorder.close()
    assert [name for (name,) in harness.sql("SELECT front_id FROM events ORDER BY id")] == names
    assert harness.resources.intake.depth() == 0
    assert harness.resources.pool.run(statements.tries_in_flight) == {}


def test_a_prefetched_delivery_behind_a_refused_chunk_is_not_marked(harness: Harness) -> None:
    """The prefetched delivery never was in work: only the refused one is tried alone."""
    harness.tenant("cmp_acme")
    for number in range(3):
        receive(harness, payload={"id": f"evt_{number}"})
    [first, *_] = harness.resources.intake.read()
    recorder = recorder_of_single_deliveries(harness)
    refuse_for_now(harness, times=1, record=recorder.drain)
    assert harness.resources.pool.run(statements.tries_in_flight) == {first.entry_id: 0}
    assert recorder.drain() == 3
    recorder.close()


def test_a_prefetched_delivery_stays_when_time_is_up(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.tenant("cmp_acme")
    for number in range(3):
        receive(harness, payload={"id": f"evt_{number}"})
    recorder = recorder_of_single_deliveries(harness)
    ticks = itertools.count(0.0, 1.0)
    monkeypatch.setattr("workers.recording.recorder.time.monotonic", lambda: next(ticks))
    assert recorder.drain(max_seconds=1.5) == 1
    recorder.close()
    assert harness.resources.pool.run(statements.tries_in_flight) == {}
    assert harness.record() == 2
