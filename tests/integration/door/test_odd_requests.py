"""Odd requests over HTTP: the answer to each, and whether the door keeps it."""

from __future__ import annotations

import socket
from http.client import HTTPResponse
from typing import TYPE_CHECKING

import pytest

from tests.integration.door.door_process import in_intake, running_door, signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.door.door_process import Door

BODY = b"{}"
POST = b"POST /webhooks/front HTTP/1.1"
HOST, LENGTH, CHUNKED = b"Host: a", b"Content-Length: 2", b"Transfer-Encoding: chunked"
JSON, PROBLEM = "application/json", "application/problem+json"
CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"


def odd_requests() -> dict[str, tuple[bytes, ...]]:
    """Return request lines and signed headers. All requests have the same body, in chunks where CHUNKED is a header."""
    timestamp, signature = front = [f"{name}: {value}".encode() for name, value in signed(BODY).items()]

    def to(target: str, *, method: str = "POST", version: str = "1.1") -> tuple[bytes, ...]:
        return (f"{method} {target} HTTP/{version}".encode(), HOST, *front, LENGTH)

    return {
        "as Front sends it": (POST, HOST, *front, LENGTH),
        "a host in UTF-8": (POST, "Host: é".encode(), *front, LENGTH),
        "a host that is too long": (POST, b"Host: " + b"a" * 64, *front, LENGTH),
        "a host with an empty label": (POST, b"Host: a..b", *front, LENGTH),
        "no host": (POST, *front, LENGTH),
        "two hosts": (POST, HOST, b"Host: b", *front, LENGTH),
        "a challenge": (POST, HOST, *front, LENGTH, b"X-Front-Challenge: word"),
        "a challenge in latin-1": (POST, HOST, *front, LENGTH, b"X-Front-Challenge: \xe9"),
        "a challenge in UTF-8": (POST, HOST, *front, LENGTH, "X-Front-Challenge: é".encode()),
        "another header in no encoding": (POST, HOST, *front, LENGTH, b"X-Other: \xff\xfe"),
        "length, then chunked": (POST, HOST, *front, LENGTH, CHUNKED),
        "chunked, then length": (POST, HOST, *front, CHUNKED, LENGTH),
        "chunked": (POST, HOST, *front, CHUNKED),
        "a length twice": (POST, HOST, *front, LENGTH, LENGTH),
        "two lengths": (POST, HOST, *front, LENGTH, b"Content-Length: 3"),
        "a length with a sign": (POST, HOST, *front, b"Content-Length: +2"),
        "a length with zeros": (POST, HOST, *front, b"Content-Length: 002"),
        "a length of an empty body": (POST, HOST, *front, b"Content-Length: 0"),
        "compressed": (POST, HOST, *front, LENGTH, b"Content-Encoding: gzip"),
        "an upgrade": (POST, HOST, *front, LENGTH, b"Connection: upgrade", b"Upgrade: websocket"),
        "a signature twice": (POST, HOST, *front, signature, LENGTH),
        "a signature with spaces around": (POST, HOST, timestamp, signature + b" \t", LENGTH),
        "a signature under another name": (POST, HOST, timestamp, signature.replace(b"-", b"_"), LENGTH),
        "names in capitals": (POST, b"HOST: a", timestamp, signature.replace(b"X-Front", b"X-FRONT"), LENGTH),
        "a folded header": (POST, HOST, *front, LENGTH, b"X-Other: a\r\n b"),
        "HTTP/1.0": to("/webhooks/front", version="1.0"),
        "a method in small letters": to("/webhooks/front", method="post"),
        "another method": to("/webhooks/front", method="PUT"),
        "a path with a letter encoded": to("/webhooks/fr%6Fnt"),
        "a path with a slash encoded": to("/webhooks%2Ffront"),
        "a path with a byte encoded": to("/webhooks/front%FF"),
        "a path with half an encoding": to("/webhooks/front%zz"),
        "a path in UTF-8": to("/webhooks/frönt"),
        "a slash after the path": to("/webhooks/front/"),
        "two slashes before the path": to("//webhooks/front"),
        "a path upwards": to("/x/../webhooks/front"),
        "a query": to("/webhooks/front?a=%FF&b"),
        "a whole URL": to("http://another.example/webhooks/front"),
    }


#: Status, content type, and the number of kept deliveries. Granian itself refused where there is no content type.
KEPT = (200, JSON, 1)
BROKEN = (400, None, 0)
UNSIGNED = (401, PROBLEM, 0)
ELSEWHERE = (404, PROBLEM, 0)
EXPECTED = {
    "as Front sends it": KEPT,
    "a host in UTF-8": KEPT,
    "a host that is too long": KEPT,
    "a host with an empty label": KEPT,
    "no host": KEPT,
    "two hosts": KEPT,
    "a challenge": (200, JSON, 0),
    "a challenge in latin-1": KEPT,
    "a challenge in UTF-8": KEPT,
    "another header in no encoding": KEPT,
    "length, then chunked": KEPT,
    "chunked, then length": KEPT,
    "chunked": KEPT,
    "a length twice": KEPT,
    "two lengths": BROKEN,
    "a length with a sign": BROKEN,
    "a length with zeros": KEPT,
    "a length of an empty body": UNSIGNED,
    "compressed": (415, PROBLEM, 0),
    "an upgrade": KEPT,
    "a signature twice": UNSIGNED,
    "a signature with spaces around": KEPT,
    "a signature under another name": UNSIGNED,
    "names in capitals": KEPT,
    "a folded header": BROKEN,
    "HTTP/1.0": KEPT,
    "a method in small letters": KEPT,
    "another method": (405, PROBLEM, 0),
    "a path with a letter encoded": KEPT,
    "a path with a slash encoded": KEPT,
    "a path with a byte encoded": ELSEWHERE,
    "a path with half an encoding": ELSEWHERE,
    "a path in UTF-8": ELSEWHERE,
    "a slash after the path": ELSEWHERE,
    "two slashes before the path": KEPT,
    "a path upwards": ELSEWHERE,
    "a query": KEPT,
    "a whole URL": KEPT,
}


@pytest.fixture
def door(database: str, redis_db: str, tmp_path: Path) -> Iterator[Door]:
    with running_door(database, redis_db, tmp_path / "door.log") as door:
        yield door


def test_every_odd_request_is_answered_as_it_deserves(door: Door, redis_db: str) -> None:
    def taken(lines: tuple[bytes, ...]) -> tuple[int, str | None, int]:
        before = len(in_intake(redis_db))
        answer = answer_to(door, lines)
        return answer.status, answer.headers["content-type"], len(in_intake(redis_db)) - before

    assert {name: taken(lines) for name, lines in odd_requests().items()} == EXPECTED


def answer_to(door: Door, lines: tuple[bytes, ...]) -> HTTPResponse:
    """Send these lines and the body unchanged."""
    with socket.create_connection(("127.0.0.1", door.port), timeout=30) as connection:
        body = CHUNKS if CHUNKED in lines else BODY
        connection.sendall(b"\r\n".join([*lines, b"", body]))
        answer = HTTPResponse(connection)
        answer.begin()
        return answer
