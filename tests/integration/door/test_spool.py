"""The spool against a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from shared.db.recording import spool
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

AT = datetime(2026, 8, 11, 10, 0, 0, 123_000, tzinfo=UTC)


def delivery(number: int, body: bytes = b"{}") -> Delivery:
    return Delivery(id=f"{number:032x}", received_at=AT + timedelta(seconds=number), body=body)


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def oldest(conn: psycopg.Connection, limit: int) -> list[Delivery]:
    return [each.delivery for each in spool.oldest(conn, limit)]


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"[" * 100_000], ids=["empty", "binary", "deep"])
def test_a_delivery_comes_out_as_it_went_in(conn: psycopg.Connection, body: bytes) -> None:
    spool.add(conn, [delivery(1, body)])
    assert oldest(conn, 10) == [delivery(1, body)]


def test_a_delivery_added_twice_is_there_once(conn: psycopg.Connection) -> None:
    spool.add(conn, [delivery(1), delivery(1)])
    spool.add(conn, [delivery(1)])
    assert oldest(conn, 10) == [delivery(1)]


def test_a_repaired_delivery_differs_from_one_of_the_door(conn: psycopg.Connection) -> None:
    spool.add(conn, [delivery(1)])
    spool.add_repaired(conn, [delivery(2), delivery(1)])
    assert [(each.delivery.id[-1], each.origin) for each in spool.oldest(conn, 10)] == [
        ("1", "spooled"),
        ("2", "repaired"),
    ]


def test_the_oldest_come_first(conn: psycopg.Connection) -> None:
    spool.add(conn, [delivery(3), delivery(1), delivery(2)])
    assert oldest(conn, 2) == [delivery(1), delivery(2)]


def test_large_bodies_are_read_a_few_at_a_time(conn: psycopg.Connection) -> None:
    large = b"x" * (spool.MAX_BYTES // 2)
    spool.add(conn, [delivery(number, large) for number in range(5)])
    assert len(spool.oldest(conn, 10)) == 2


def test_a_body_over_the_limit_is_read_alone(conn: psycopg.Connection) -> None:
    spool.add(conn, [delivery(number, b"x" * (spool.MAX_BYTES + 1)) for number in range(2)])
    assert len(spool.oldest(conn, 10)) == 1


def test_only_the_named_are_deleted(conn: psycopg.Connection) -> None:
    spool.add(conn, [delivery(1), delivery(2)])
    spool.delete(conn, [delivery(1).id])
    assert oldest(conn, 10) == [delivery(2)]


def test_checking_leaves_nothing_behind(conn: psycopg.Connection) -> None:
    spool.check_writable(conn)
    assert oldest(conn, 10) == []


def test_a_standby_is_not_writable(conn: psycopg.Connection) -> None:
    conn.execute("SET default_transaction_read_only = on")
    with pytest.raises(errors.ReadOnlySqlTransaction):
        spool.check_writable(conn)
