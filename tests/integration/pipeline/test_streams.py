"""Recorders divide the companies: two work at once, and no change of their number loses or reorders deliveries."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from shared.db.core.locks import RECORDER, Role
from shared.db.recording import statements
from shared.intake.streams import ALL_STREAMS, STREAM, entry_name, stream_for, streams_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.pipeline.harness import Harness

COMPANIES = tuple(f"cmp_{number}" for number in range(8))


def body(company: str, event: str) -> bytes:
    return json.dumps({"type": "inbound_received", "authorization": {"id": company}, "payload": {"id": event}}).encode()


def receive(harness: Harness, *events: str) -> None:
    """Take in each of the events for every company."""
    for event in events:
        for company in COMPANIES:
            harness.receive(body(company, event))


def recorded(harness: Harness) -> dict[str, list[str]]:
    """Return the events of each company in the order in which they were recorded."""
    rows = harness.sql("SELECT company_id, front_id FROM events ORDER BY id")
    return {company: [event for of, event in rows if of == company] for company in {company for company, _ in rows}}


def in_order(*events: str) -> dict[str, list[str]]:
    return {company: list(events) for company in COMPANIES}


def companies_of(stream: str, streams: tuple[str, ...]) -> set[str]:
    return {company for company in COMPANIES if stream_for(body(company, ""), streams) == stream}


@contextmanager
def at_work(database: str, stream: str) -> Iterator[None]:
    """Let another recorder be at work at this stream."""
    with (
        closing(Role(database, RECORDER, process="another recorder")) as other,
        other.held(part=ALL_STREAMS.index(stream)) as is_held,
    ):
        assert is_held
        yield


def divide(harness: Harness, streams: int) -> None:
    """Stop everything and start it with this number of streams."""
    with harness.stopped(intake_streams=streams):
        pass


@pytest.mark.parametrize("streams", [2, 3, 8])
def test_one_recorder_records_all_streams(harness: Harness, streams: int) -> None:
    divide(harness, streams)
    receive(harness, "evt_1", "evt_2")
    assert harness.resources.intake.depth() == 2 * len(COMPANIES)
    assert harness.resources.intake.oldest_age_seconds() > 0
    assert harness.record() == 2 * len(COMPANIES)
    assert recorded(harness) == in_order("evt_1", "evt_2")
    assert harness.resources.intake.depth() == 0
    assert harness.resources.pool.run(statements.tries_in_flight) == {}


def test_a_stream_at_which_another_recorder_works_is_left_to_it(harness: Harness, database: str) -> None:
    divide(harness, 2)
    busy, free = streams_of(2)
    receive(harness, "evt_1")
    with at_work(database, busy):
        assert harness.record() == len(companies_of(free, streams_of(2)))
        assert set(recorded(harness)) == companies_of(free, streams_of(2))
    assert harness.record() == len(companies_of(busy, streams_of(2)))


def test_marks_of_another_recorder_that_is_at_work_are_no_suspects(harness: Harness, database: str) -> None:
    divide(harness, 2)
    busy, free = streams_of(2)
    receive(harness, "evt_1")
    marked = [entry.entry_id for entry in harness.resources.intake.read(busy)]
    harness.resources.pool.run(lambda conn: statements.mark_in_flight(conn, marked))
    with at_work(database, busy):
        assert harness.record() == len(companies_of(free, streams_of(2)))
    assert harness.resources.pool.run(statements.tries_in_flight).keys() == set(marked)
    assert harness.record() == len(marked)  # that recorder has died; each is tried alone
    assert harness.resources.pool.run(statements.tries_in_flight) == {}


def test_entries_of_two_streams_may_have_one_id(harness: Harness) -> None:
    divide(harness, 2)
    receive(harness, "evt_1")
    redis, streams = harness.resources.intake._redis, streams_of(2)
    for stream in streams:
        fields = {"id": "a" * 31 + stream[-1], "at": "1", "body": body(f"cmp_of_{stream[-1]}", "evt_9")}
        redis.xadd(stream, fields, id="99999999999999-1")  # type: ignore[arg-type]  # redis-py takes no mapping of bytes
    names = {entry.entry_id for stream in streams for entry in harness.resources.intake.read(stream)}
    assert {entry_name(stream, "99999999999999-1") for stream in streams} <= names
    assert harness.record() == len(COMPANIES) + 2
    assert harness.resources.intake.depth() == 0


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 4), (4, 2), (2, 1)])
def test_another_number_of_streams_neither_loses_nor_reorders(
    harness: Harness, database: str, before: int, after: int
) -> None:
    divide(harness, before)
    receive(harness, "evt_1", "evt_2")
    divide(harness, after)
    receive(harness, "evt_3")
    busy = next(each for each in streams_of(before) if companies_of(each, streams_of(before)))
    with at_work(database, busy):  # what came later waits for it
        assert harness.record() == 2 * (len(COMPANIES) - len(companies_of(busy, streams_of(before))))
        assert all("evt_3" not in events for events in recorded(harness).values())
    assert harness.record() == len(COMPANIES) + 2 * len(companies_of(busy, streams_of(before)))
    assert recorded(harness) == in_order("evt_1", "evt_2", "evt_3")
    left = {name for name in ALL_STREAMS if harness.resources.intake._redis.exists(name)}
    assert left <= {STREAM, *streams_of(after)}


def test_a_recorder_with_another_number_than_the_doors_records_all(harness: Harness) -> None:
    divide(harness, 3)
    receive(harness, "evt_1")
    divide(harness, 1)
    assert harness.record() == len(COMPANIES)


def test_what_was_spooled_is_recorded_with_several_streams_too(harness: Harness) -> None:
    divide(harness, 2)
    harness.sql(
        "INSERT INTO spooled_deliveries (id, received_at, body) VALUES (gen_random_uuid(), now(), %s) RETURNING id",
        body("cmp_0", "evt_1"),
    )
    assert harness.record() == 1
