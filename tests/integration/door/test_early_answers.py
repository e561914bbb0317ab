"""An answer that is given before the body has come reaches senders that read only when they have written everything."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from tests.integration.door.door_process import Door, running_door, signed

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20
LENGTH = "Content-Length: {size}"
CHUNKED = "Transfer-Encoding: chunked"
MAYBE_SIGNED = "\r\nX-Front-Signature: c2lnbmVk\r\nX-Front-Request-Timestamp: 1"


@pytest.fixture(scope="module")
def door(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One door for all tests: none of them asks what it keeps."""
    with running_door(database_url, redis_url, tmp_path_factory.mktemp("door") / "door.log") as door:
        yield door


def write_all_then_read(
    door: Door, line: str, headers: str, *, size: int, piece: int = 65_536, pause: float = 0.0
) -> int:
    """Write a whole request, and only then read; return the status. A reset is an OSError."""
    with closing(socket.create_connection(("127.0.0.1", door.port), timeout=20)) as connection:
        connection.sendall(f"{line} HTTP/1.1\r\nHost: door\r\n{headers.format(size=size)}\r\n\r\n".encode())
        is_chunked = "chunked" in headers
        for sent in range(0, size, piece):
            part = b"x" * min(piece, size - sent)
            connection.sendall(b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part)
            time.sleep(pause)
        if is_chunked:
            connection.sendall(b"0\r\n\r\n")
        return int(connection.recv(100).split()[1])


@pytest.mark.parametrize(
    ("line", "headers", "status", "size"),
    [
        ("POST /webhooks/front", LENGTH, 413, 11 * MIB),
        ("POST /webhooks/front", LENGTH, 413, 40 * MIB),
        ("POST /webhooks/front", CHUNKED + MAYBE_SIGNED, 413, 12 * MIB),
        ("POST /webhooks/front", LENGTH, 401, 9 * MIB),
        ("POST /webhooks/front", CHUNKED, 401, 9 * MIB),
        ("POST /webhooks/front", LENGTH + "\r\nContent-Encoding: gzip", 415, 9 * MIB),
        ("POST /nowhere", LENGTH, 404, 11 * MIB),
        ("POST /nowhere", CHUNKED, 404, 9 * MIB),
        ("PUT /webhooks/front", LENGTH, 405, 9 * MIB),
        ("GET /livez", LENGTH, 200, 9 * MIB),
        ("GET /metrics", LENGTH, 200, 9 * MIB),
    ],
)
def test_it_is_read(door: Door, line: str, headers: str, status: int, size: int) -> None:
    assert write_all_then_read(door, line, headers, size=size) == status


def test_a_slow_writer_reads_it_for_a_moment(door: Door) -> None:
    assert write_all_then_read(door, "POST /webhooks/front", LENGTH, size=11 * MIB, piece=MIB, pause=0.15) == 413


def test_a_slow_body_is_answered_to_who_still_writes(door: Door) -> None:
    headers = LENGTH + MAYBE_SIGNED
    assert write_all_then_read(door, "POST /webhooks/front", headers, size=110_000, piece=10_000, pause=1.2) == 408


def test_the_connection_serves_the_next_request(door: Door) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=10)
    with closing(connection):
        for path, body, status in (
            ("/nowhere", b"x" * MIB, 404),
            ("/webhooks/front", b"x" * (11 * MIB), 413),
            ("/webhooks/front", b"x" * MIB, 401),
            ("/webhooks/front", b"{}", 200),
        ):
            connection.request("POST", path, body, signed(body) if status == 200 else {})
            answer = connection.getresponse()
            assert (answer.status, answer.read() != b"") == (status, True)


def test_the_answer_does_not_wait_for_the_body(door: Door) -> None:
    with closing(socket.create_connection(("127.0.0.1", door.port), timeout=20)) as connection:
        began = time.monotonic()
        connection.sendall(b"POST /webhooks/front HTTP/1.1\r\nHost: door\r\nContent-Length: 99999999\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
        assert time.monotonic() - began < 1.0


def test_a_client_that_asks_first_is_answered_once(door: Door) -> None:
    head = b"POST /webhooks/front HTTP/1.1\r\nHost: door\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", door.port), timeout=20)) as connection:
        connection.sendall(head)
        heard = b""
        while piece := connection.recv(4096):
            heard += piece
    assert heard.startswith(b"HTTP/1.1 413")
    assert heard.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(("piece", "pause"), [(b"x", 0.1), (b"x" * MIB, 0.0)], ids=["a drip", "gigabytes"])
def test_reading_on_ends_soon(door: Door, piece: bytes, pause: float) -> None:
    began, sent = time.monotonic(), 0
    with closing(socket.create_connection(("127.0.0.1", door.port), timeout=20)) as connection, suppress(OSError):
        connection.sendall(b"POST /webhooks/front HTTP/1.1\r\nHost: door\r\nContent-Length: 99999999999\r\n\r\n")
        while sent < 2**30:
            connection.sendall(piece)
            sent += len(piece)
            time.sleep(pause)
    assert time.monotonic() - began < 8.0
    assert sent < 100 * MIB
