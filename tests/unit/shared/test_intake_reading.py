"""The intake's parser reads every reply as redis-py's parser does, however the bytes are split."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import pytest
import redis
from redis._parsers import BaseParser, Encoder, _RESP2Parser

from shared.intake.entries import fields_of
from shared.intake.reading import IntakeParser, read_replies
from shared.models import Delivery

AT = datetime(2026, 8, 11, 10, 0, 0, 123_000, tzinfo=UTC)
BODIES = [b"", b"{}", b"\r\n", b"\x00\xff", b"*2\r\n$3\r\n1-0\r\n", b"x" * 300]


class PiecewiseSocket:
    """A socket that returns the data in pieces, and then reports its end."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._pieces = [data[begin : begin + piece] for begin in range(0, len(data), piece)]

    def recv(self, _: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def bulk(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)


def entry(*fields: bytes, name: bytes = b"1786442400123-7") -> bytes:
    return b"*2\r\n" + bulk(name) + b"*%d\r\n" % len(fields) + b"".join(map(bulk, fields))


def delivered(body: bytes) -> bytes:
    return entry(*chain.from_iterable(fields_of(Delivery(id="0a" * 16, received_at=AT, body=body)).items()))


def answer(*entries: bytes) -> bytes:
    """Return a reply to XREAD."""
    return b"*1\r\n*2\r\n" + bulk(b"mailroom:intake") + b"*%d\r\n" % len(entries) + b"".join(entries)


class Connection:
    """The attributes of redis-py's connection that a parser needs."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._sock = PiecewiseSocket(data, piece)
        self.socket_timeout = None
        self.encoder = Encoder("utf-8", "strict", decode_responses=False)


def read(kind: type[BaseParser], data: bytes, piece: int, count: int = 1) -> list[Any]:
    parser: Any = kind(socket_read_size=65_536)  # type: ignore[call-arg]
    parser.on_connect(Connection(data, piece))
    return [parser.read_response() for _ in range(count)]


@pytest.mark.parametrize("piece", [1, 7, 64, 100, 150, 151, 65_536])
@pytest.mark.parametrize("body", BODIES)
def test_an_entry_is_read_however_it_is_split(body: bytes, piece: int) -> None:
    data = answer(delivered(body), delivered(b"between"), delivered(body))
    assert read(IntakeParser, data, piece) == read(_RESP2Parser, data, piece)


@pytest.mark.parametrize(
    "data",
    [
        b"*-1\r\n",
        b"$-1\r\n",
        b":7\r\n",
        answer(),
        # The door writes no such entries
        answer(entry(b"anything", b"else"), delivered(b"{}")),
        answer(entry(b"id", b"zz", b"at", b"1", b"body", b"{}"), delivered(b"{}")),
        answer(entry(b"id", b"0" * 32, b"at", b"soon", b"body", b"{}"), delivered(b"{}")),
        answer(entry(b"id", b"0" * 32, b"at", b"1", b"body", b"{}", b"more", b""), delivered(b"{}")),
        answer(entry(b"id", b"\r\n" * 16, b"at", b"9" * 30, b"body", b"{}"), delivered(b"{}")),
        # An entry that was deleted meanwhile has no fields
        answer(b"*2\r\n$3\r\n1-0\r\n*-1\r\n", delivered(b"{}")),
        answer(entry(b"body", b"{}", name=b"18446744073709551615-18446744073709551615")),
    ],
)
def test_other_replies_are_read_as_redis_py_reads_them(data: bytes) -> None:
    assert read(IntakeParser, data, 65_536) == read(_RESP2Parser, data, 65_536)


def test_consecutive_replies_are_read_in_order() -> None:
    data = answer(delivered(b"{}")) + b"+OK\r\n" + answer(delivered(b"[]"))
    assert read(IntakeParser, data, 65_536, 3) == read(_RESP2Parser, data, 65_536, 3)


@pytest.mark.parametrize("kind", [_RESP2Parser, IntakeParser])
def test_a_wrong_length_is_an_error(kind: type[_RESP2Parser]) -> None:
    data = answer(delivered(b"{}").replace(b"$2\r\n{}", b"$1\r\n{}"))
    with pytest.raises(redis.RedisError):
        read(kind, data + delivered(b"{}"), 65_536, 2)


def test_an_incomplete_reply_is_a_lost_connection() -> None:
    with pytest.raises(redis.ConnectionError):
        read(IntakeParser, answer(delivered(b"{}"))[:-3], 65_536)


def test_an_error_reply_is_returned_as_its_exception() -> None:
    [error] = read(IntakeParser, b"-OOM command not allowed\r\n", 65_536)
    assert isinstance(error, redis.exceptions.OutOfMemoryError)


def test_can_read_reports_data_and_a_closed_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(b"", 1)
        connection._sock = ours  # type: ignore[assignment]
        parser = IntakeParser(65_536)
        parser.on_connect(connection)
        assert not parser.can_read(0)
        theirs.sendall(b"+OK\r\n")
        assert (parser.can_read(0), parser.read_response()) == (True, b"OK")
        theirs.close()
        with pytest.raises(redis.ConnectionError):
            parser.can_read(0)


BATCH = b"$15\r\n1732000000000-0\r\n-OOM command not allowed\r\n$-1\r\n+OK\r\n:7\r\n_\r\n$0\r\n\r\n"
BATCH_REPLIES = ["b'1732000000000-0'", "ReplyError('OOM command not allowed')", "None", "b'OK'", "7", "None", "b''"]


def replies(data: bytes, count: int, *, piece: int = 65_536) -> list[str]:
    async def story() -> list[Any]:
        stream = asyncio.StreamReader()
        for begin in range(0, len(data), piece):
            stream.feed_data(data[begin : begin + piece])
        stream.feed_eof()
        return await read_replies(stream, count)

    return [repr(reply) for reply in asyncio.run(story())]


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 65_536])
def test_each_reply_of_a_batch_is_decoded(piece: int) -> None:
    assert replies(BATCH, len(BATCH_REPLIES), piece=piece) == BATCH_REPLIES


@pytest.mark.parametrize("length", range(len(BATCH)))
def test_an_incomplete_batch_is_a_lost_connection(length: int) -> None:
    with pytest.raises(redis.ConnectionError):
        replies(BATCH[:length], len(BATCH_REPLIES))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n", b"+OK\r\n+NEXT\r\n"])
def test_an_invalid_reply_to_a_batch_is_an_error(answer: bytes) -> None:
    with pytest.raises(redis.InvalidResponse):
        replies(answer, 1)
