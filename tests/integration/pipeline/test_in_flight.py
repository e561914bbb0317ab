"""Only deaths count against a delivery: an outage or a refused neighbour never has it kept unparsed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from shared.db.core.locks import RECORDER, Role
from shared.db.recording import statements
from shared.errors import StoreUnavailable
from tests.integration.pipeline.rig import Rig
from tests.integration.pipeline.test_recording import receive
from workers.recording import recorder
from workers.recording.prefetch import DeliveryReader

TYPES = "SELECT type, count(*)::int FROM events GROUP BY 1"


def refuse_for_now(rig: Rig, times: int, record: Callable[[], int] | None = None) -> None:
    """PostgreSQL is too busy for events, this many times."""
    rig.sql(
        "CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'busy' USING ERRCODE = 'lock_not_available'; END $$"
    )
    rig.sql("CREATE TRIGGER busy BEFORE INSERT ON events EXECUTE FUNCTION busy()")
    for _ in range(times):
        with pytest.raises(StoreUnavailable):
            (record or rig.record)()
    rig.sql("DROP TRIGGER busy ON events")


def test_a_long_outage_counts_against_no_delivery(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    for number in range(3):
        receive(rig, payload={"id": f"evt_{number}"})
    refuse_for_now(rig, times=2 * recorder.DEADLY_TRIES)
    assert rig.record() == 3
    assert rig.sql(TYPES) == [("inbound_received", 3)]
    assert rig.resources.pool.run(statements.tries_in_flight) == {}


def test_what_could_not_be_recorded_together_is_tried_alone(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    for number in range(3):
        receive(rig, payload={"id": f"evt_{number}"})
    refuse_for_now(rig, times=1)
    assert sorted(rig.resources.pool.run(statements.tries_in_flight).values()) == [0, 0, 0]


def test_looking_for_a_refused_delivery_counts_once_against_its_neighbours(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder that is killed at the end of the search leaves one death behind, not eight."""
    rig.tenant("cmp_acme")
    for number in range(32):
        receive(rig, payload={"id": f"evt_{number}"})
    rig.sql("ALTER TABLE events ADD CHECK (front_id <> 'evt_7')")
    counts: list[int] = []
    commit = recorder._commit_chunk

    def watched(*given: Any) -> set[int]:
        counts.extend(rig.resources.pool.run(statements.tries_in_flight).values())
        return commit(*given)

    monkeypatch.setattr(recorder, "_commit_chunk", watched)
    rig.record()
    assert set(counts) == {1}


def test_a_release_that_does_not_fit_its_database_counts_against_no_delivery(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    receive(rig)
    rig.sql("ALTER TABLE events RENAME TO moved")
    for _ in range(2 * recorder.DEADLY_TRIES):
        with pytest.raises(psycopg.errors.UndefinedTable):
            rig.record()
    rig.sql("ALTER TABLE moved RENAME TO events")
    rig.record()
    assert rig.sql(TYPES) == [("inbound_received", 1)]


def test_the_marks_of_what_was_lost_with_redis_go_when_nothing_waits(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    receive(rig, payload={"id": "evt_1"})
    refuse_for_now(rig, times=1)
    rig.resources.intake._redis.flushdb()
    assert rig.record() == 0
    assert rig.resources.pool.run(statements.tries_in_flight) == {}


def by_ones(rig: Rig) -> recorder.Recorder:
    """A recorder whose chunks are of one delivery, so that the next is always read ahead."""
    pool, intake = rig.resources.pool, rig.resources.intake
    role = Role(rig.settings.database_url.get_secret_value(), RECORDER, name="recorder of this test")
    return recorder.Recorder(pool, intake, role, rig.resources.dispatcher.top_up, DeliveryReader(pool, intake, 1))


def test_what_is_read_ahead_is_recorded_in_its_turn(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    names = [f"evt_{number}" for number in range(5)]
    for name in names:
        receive(rig, payload={"id": name})
    recorder = by_ones(rig)
    assert recorder.drain() == len(names)
    recorder.close()
    assert [name for (name,) in rig.sql("SELECT front_id FROM events ORDER BY id")] == names
    assert rig.resources.intake.depth() == 0
    assert rig.resources.pool.run(statements.tries_in_flight) == {}


def test_what_was_read_ahead_of_a_refused_chunk_is_not_marked(rig: Rig) -> None:
    """It never was in work: only the refused one is to be tried alone."""
    rig.tenant("cmp_acme")
    for number in range(3):
        receive(rig, payload={"id": f"evt_{number}"})
    [first, *_] = rig.resources.intake.read()
    recorder = by_ones(rig)
    refuse_for_now(rig, times=1, record=recorder.drain)
    assert rig.resources.pool.run(statements.tries_in_flight) == {first.entry_id: 0}
    assert recorder.drain() == 3
    recorder.close()


def test_what_was_read_ahead_stays_when_time_is_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.tenant("cmp_acme")
    for number in range(3):
        receive(rig, payload={"id": f"evt_{number}"})
    recorder = by_ones(rig)
    ticks = itertools.count(0.0, 1.0)
    monkeypatch.setattr("workers.recording.recorder.time.monotonic", lambda: next(ticks))
    assert recorder.drain(max_seconds=1.5) == 1
    recorder.close()
    assert rig.resources.pool.run(statements.tries_in_flight) == {}
    assert rig.record() == 2
