"""The intake stores, reads and deletes deliveries in order, tested on fakeredis."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import fakeredis
import pytest

from shared.errors import StoreUnavailable
from shared.intake.client import BELL, CHUNK, OLD_STREAM, Intake
from shared.intake.streams import STREAM
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

AT = datetime(2026, 8, 11, 10, 0, 0, 123_000, tzinfo=UTC)


def delivery(number: int, body: bytes = b"{}") -> Delivery:
    return Delivery(id=f"{number:032x}", received_at=AT, body=body)


@pytest.fixture
def server() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis(version=(7,))


@pytest.fixture
def intake(server: fakeredis.FakeRedis) -> Intake:
    return Intake(server)


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", b"not json", '{"a": "é"}'.encode(), b"\xff\xfe", b"[" * 100_000],
    ids=["empty", "NUL", "text", "UTF-8", "not UTF-8", "deep"],
)
def test_a_delivery_comes_out_as_it_went_in(intake: Intake, body: bytes) -> None:
    intake.put([delivery(1, body)])
    assert [entry.delivery for entry in intake.read()] == [delivery(1, body)]


def test_reading_removes_no_entry(intake: Intake) -> None:
    intake.put([delivery(1)])
    assert intake.read() == intake.read()


def test_the_oldest_come_first(intake: Intake) -> None:
    intake.put([delivery(number) for number in range(50)])
    assert [entry.delivery.id for entry in intake.read()] == [delivery(number).id for number in range(50)]


def test_no_more_entries_than_requested_are_read(intake: Intake) -> None:
    intake.put([delivery(number) for number in range(50)])
    assert len(intake.read(max_entries=33)) == 33


def test_reading_stops_after_the_chunk_that_fills_the_bytes(intake: Intake) -> None:
    intake.put([delivery(number, b"x" * 100) for number in range(100)])
    assert len(intake.read(max_bytes=2_001)) == 40


def test_deleted_entries_are_gone(intake: Intake) -> None:
    intake.put([delivery(1), delivery(2)])
    intake.delete([intake.read()[0].entry_id])
    assert [entry.delivery for entry in intake.read()] == [delivery(2)]


def test_deleting_nothing_is_allowed(intake: Intake) -> None:
    intake.delete([])
    assert intake.depth() == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"anything": "else"},
        {"id": "zz", "at": "1", "body": "{}"},
        {"id": "0" * 32, "at": "soon", "body": "{}"},
        {"id": "0" * 32, "at": "9" * 30, "body": "{}"},
        {"id": "0" * 32, "at": "1"},
    ],
    ids=["foreign", "odd id", "odd time", "endless time", "no body"],
)
def test_an_unreadable_entry_is_returned_with_a_mark(
    intake: Intake, server: fakeredis.FakeRedis, fields: dict[str, str]
) -> None:
    server.xadd(STREAM, fields)  # type: ignore[arg-type]
    intake.put([delivery(1)])
    assert [entry.readable for entry in intake.read()] == [False, True]


def test_an_unreadable_entry_has_the_same_delivery_each_time(intake: Intake, server: fakeredis.FakeRedis) -> None:
    server.xadd(STREAM, {"body": "what was left"}, id="18446744073709551615-1")
    assert intake.read()[0].delivery.body == b"what was left"
    assert intake.read() == intake.read()


def test_entries_of_an_older_release_are_moved_in_order(intake: Intake, server: fakeredis.FakeRedis) -> None:
    for number in range(CHUNK + 1):
        intake.put([delivery(number)])
    server.rename(STREAM, OLD_STREAM)
    intake.put([delivery(CHUNK + 1)])
    assert [intake.move_old_entries() for _ in range(3)] == [CHUNK, 1, 0]
    assert [entry.delivery.id for entry in intake.read()] == [
        delivery(number).id for number in (CHUNK + 1, *range(CHUNK + 1))
    ]
    assert not server.exists(OLD_STREAM)


def test_the_bell_is_silent_for_the_first_delivery_only(intake: Intake) -> None:
    assert [intake.put([delivery(number)]).bell_was_silent for number in range(3)] == [True, False, False]


def test_a_stopped_bell_rings_again(intake: Intake) -> None:
    intake.put([delivery(1)])
    intake.stop_bell()
    assert intake.put([delivery(2)]).bell_was_silent


def test_the_bell_falls_silent_by_itself(intake: Intake, server: fakeredis.FakeRedis) -> None:
    intake.put([delivery(1)])
    assert 0 < int(server.pttl(BELL)) <= 1000


def test_an_empty_intake_has_no_age(intake: Intake) -> None:
    assert (intake.depth(), intake.oldest_age_seconds()) == (0, 0.0)


def test_the_age_is_that_of_the_oldest_entry(intake: Intake, server: fakeredis.FakeRedis) -> None:
    seconds, _ = server.time()
    server.xadd(STREAM, {"body": ""}, id=f"{(seconds - 90) * 1000}-0")
    intake.put([delivery(1)])
    assert intake.oldest_age_seconds() == pytest.approx(90, abs=2)


@pytest.mark.parametrize(
    "use",
    [
        lambda intake: intake.put([delivery(1)]),
        lambda intake: intake.read(),
        lambda intake: intake.delete(["1-0"]),
        lambda intake: intake.stop_bell(),
        lambda intake: intake.depth(),
        lambda intake: intake.oldest_age_seconds(),
    ],
    ids=["put", "read", "delete", "stop_bell", "depth", "oldest_age_seconds"],
)
def test_a_redis_that_is_away_is_store_unavailable(use: Callable[[Intake], object]) -> None:
    server = fakeredis.FakeServer()
    server.connected = False
    with pytest.raises(StoreUnavailable):
        use(Intake(fakeredis.FakeRedis(server=server)))
