"""A chunk is prepared before it is written: changes between the two count as if the preparation had seen them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime

import psycopg
import pytest

from shared.db.core.pool import Connection
from shared.db.recording import statements
from shared.models import EventKey
from tests.integration.pipeline.harness import NORA, Harness
from tests.integration.pipeline.test_in_flight import recorder_of_single_deliveries
from tests.integration.pipeline.test_recording import envelope, receive
from workers.recording import prefetch, prepare
from workers.recording.chunk import record_chunk
from workers.recording.parse import Incoming, Parsed, parse
from workers.recording.prepare import PreparedChunk

FILE = {
    "id": "fil_1",
    "url": "https://x.api.frontapp.com/download/fil_1",
    "filename": "a",
    "content_type": "text/plain",
}
ROWS = """
    SELECT e.front_id, e.state, (SELECT count(*)::int FROM deliveries d WHERE d.event_id = e.id),
        (SELECT count(body)::int FROM deliveries d WHERE d.event_id = e.id),
        (SELECT count(*)::int FROM attachments a WHERE a.event_id = e.id),
        (SELECT count(*)::int FROM actions a WHERE a.event_id = e.id),
        (SELECT count(*)::int FROM tasks t WHERE t.event_id = e.id)
    FROM events e ORDER BY e.front_id
"""
#: The row of an event with a file to store and a skipped action, as ROWS reads it.
WHOLE = ("processing", 1, 1, 1, 1, 1)


def parsed_deliveries(harness: Harness, *names: str, company: str = "cmp_acme") -> list[Parsed]:
    """Return parsed deliveries with a file each, and leave the intake empty."""
    for name in names:
        message = {"id": f"msg_{name}", "attachments": [FILE]}
        body = envelope(payload={"id": name}, authorization={"id": company}, message=message)
        harness.receive(json.dumps(body).encode())
    entries = harness.resources.intake.read()
    harness.resources.intake.delete(each.entry_id for each in entries)
    return [parse(Incoming(each.delivery, "webhook", each.entry_id)) for each in entries]


def prepared(harness: Harness, chunk: Sequence[Parsed]) -> PreparedChunk:
    return harness.resources.pool.run(lambda conn: prepare.prepare(conn, chunk, statements.start_reading(conn)))


def record(harness: Harness, chunk: Sequence[Parsed], found: PreparedChunk | None = None) -> set[int]:
    return harness.resources.pool.run(lambda conn: record_chunk(conn, chunk, prepared=found))


@pytest.fixture
def acme(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    return tenant


def test_it_is_written_as_it_was_prepared(harness: Harness, acme: int) -> None:
    chunk = parsed_deliveries(harness, "evt_2", "evt_1")
    assert record(harness, chunk, prepared(harness, chunk)) == {acme}
    assert harness.sql(ROWS) == [("evt_1", *WHOLE), ("evt_2", *WHOLE)]


def test_an_event_that_was_recorded_since_gets_its_delivery_alone(harness: Harness, acme: int) -> None:
    chunk = parsed_deliveries(harness, "evt_1", "evt_2", "evt_3")
    found = prepared(harness, chunk)
    record(harness, parsed_deliveries(harness, "evt_2"))
    record(harness, chunk, found)
    assert harness.sql(ROWS) == [
        ("evt_1", *WHOLE),
        ("evt_2", "processing", 2, 1, 1, 1, 1),
        ("evt_3", *WHOLE),
    ]


def test_a_chunk_of_recorded_events_makes_no_new_work(harness: Harness, acme: int) -> None:
    chunk = parsed_deliveries(harness, "evt_1")
    found = prepared(harness, chunk)
    record(harness, parsed_deliveries(harness, "evt_1"))
    assert record(harness, chunk, found) == set()


def test_nothing_of_a_company_that_was_erased_since_is_written(harness: Harness, acme: int) -> None:
    other = harness.tenant("cmp_other", "Other")
    harness.user(other, NORA)
    chunk = [*parsed_deliveries(harness, "evt_1"), *parsed_deliveries(harness, "evt_1", company="cmp_other")]
    found = prepared(harness, chunk)
    harness.sql("INSERT INTO erased_companies (company_id) VALUES ('cmp_other')")
    assert record(harness, chunk, found) == {acme}
    assert harness.sql(ROWS) == [("evt_1", *WHOLE)]
    assert harness.one("SELECT dropped::int FROM erased_companies") == 1


def test_a_chunk_that_cannot_be_written_as_prepared_is_looked_up_again(
    harness: Harness, acme: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second chunk names a tenant that is deleted before the write."""
    harness.sql("INSERT INTO tenants (name, company_id, action) VALUES ('Other', 'cmp_other', 'archive')")
    receive(harness)
    receive(harness, authorization={"id": "cmp_other"})

    went: list[tuple[str]] = []

    def prepare_then_delete_tenant(conn: Connection, chunk: Sequence[Parsed], now: datetime) -> PreparedChunk:
        found = prepare.prepare(conn, chunk, now)
        if "cmp_other" in found.tenants:
            went.extend(harness.sql("DELETE FROM tenants WHERE company_id = 'cmp_other' RETURNING company_id"))
        return found

    record_singly(harness, monkeypatch, prepare_then_delete_tenant)
    assert went == [("cmp_other",)]
    assert harness.sql("SELECT company_id, state FROM events ORDER BY id") == [
        ("cmp_acme", "done"),
        ("cmp_other", "parked"),
    ]


def test_a_chunk_that_cannot_be_prepared_is_recorded_nevertheless(
    harness: Harness, acme: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        receive(harness, payload={"id": f"evt_{number}"})

    def refused(*_: object) -> PreparedChunk:
        raise psycopg.errors.DataError

    record_singly(harness, monkeypatch, refused)
    assert harness.one("SELECT count(*)::int FROM events") == 3


def test_an_event_that_waits_twice_in_a_row_is_written_once(
    harness: Harness, acme: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        receive(harness)
    known: list[EventKey] = []

    def noted(conn: Connection, chunk: Sequence[Parsed], now: datetime) -> PreparedChunk:
        found = prepare.prepare(conn, chunk, now)
        known.extend(found.ids)
        return found

    record_singly(harness, monkeypatch, noted)
    assert known == [("cmp_acme", "evt_1")] * 4
    assert harness.sql("SELECT count(*)::int, count(body)::int FROM deliveries") == [(4, 1)]
    assert harness.one("SELECT count(*)::int FROM events") == 1


def record_singly(harness: Harness, monkeypatch: pytest.MonkeyPatch, prepares: Callable[..., PreparedChunk]) -> None:
    """Record chunks of one delivery with this function as `prepare`."""
    monkeypatch.setattr(prefetch, "prepare", prepares)
    recorder = recorder_of_single_deliveries(harness)
    recorder.drain()
    recorder.close()
    assert harness.resources.intake.depth() == 0
