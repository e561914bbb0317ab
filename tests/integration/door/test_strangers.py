"""Strangers with bodies that never end cannot fill the room of others."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from tests.integration.door.door_process import Answer, Door, in_intake, running_door, signed, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = 80
MIB = 2**20
LENGTH = b"Content-Length: 10485760\r\n\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n9fffff\r\n"
FORGED = b"X-Front-Signature: c2lnbmVk\r\nX-Front-Request-Timestamp: %d\r\n"


@dataclass
class Strangers:
    """Senders that hold as much of the door as they can, and begin again when they are sent away."""

    port: int
    head: bytes
    size: int
    source: str = "127.0.0.1"
    answers: list[bytes] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._stop.is_set():
            with suppress(OSError), socket.create_connection(
                ("127.0.0.1", self.port), timeout=10, source_address=(self.source, 0)
            ) as connection:  # fmt: skip
                self._hold(connection)

    def _hold(self, connection: socket.socket) -> None:
        connection.sendall(self.head)
        piece = b"x" * 65_536
        for _ in range(self.size // len(piece)):
            if self._stop.is_set():
                return
            connection.sendall(piece)
        connection.settimeout(0.2)
        while not self._stop.is_set():
            connection.send(b"x")
            with suppress(TimeoutError):
                self.answers.append(connection.recv(100))
                return

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def strangers(port: int, head: bytes, size: int, *, many: int = MANY, addresses: int = 1) -> Iterator[list[Strangers]]:
    """Let strangers in until the end of the block, after a moment in which they may fill the room."""
    started = [Strangers(port, head, size, source=f"127.0.0.{2 + number % addresses}") for number in range(many)]
    threads = [threading.Thread(target=each.run, daemon=True) for each in started]
    for thread in threads:
        thread.start()
    time.sleep(3)
    try:
        yield started
    finally:
        for each in started:
            each.stop()
        for thread in threads:
            thread.join(20)


def head(path: str, *headers: bytes) -> bytes:
    return b"POST " + path.encode() + b" HTTP/1.1\r\nHost: door\r\n" + b"".join(headers)


def forged() -> bytes:
    return FORGED % int(time.time() * 1000)


@pytest.fixture
def door(database: str, redis_db: str, tmp_path: Path) -> Iterator[Door]:
    with running_door(database, redis_db, tmp_path / "door.log", LOG_LEVEL="ERROR") as door:
        yield door


def refused_for_room(answers: list[Answer]) -> list[bytes]:
    """Return the refusals of webhooks that strangers left no room for."""
    return [answer.body for answer in answers if answer.status == 503 and b"door_full" in answer.body]


def spooled(database: str) -> int:
    with psycopg.connect(database) as conn:
        row = conn.execute("SELECT count(*) FROM spooled_deliveries").fetchone()
    return int(row[0]) if row else 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("heads", "size", "addresses"),
    [
        ((forged, LENGTH), 10 * MIB - 65_536, 1),
        ((forged, LENGTH), 10 * MIB - 65_536, 40),
        ((forged, CHUNKS), 10 * MIB - 65_536, 40),
        ((LENGTH,), 10 * MIB - 65_536, 1),
        ((forged, LENGTH), MIB, 40),
    ],
    ids=["one address", "many addresses", "chunks", "unsigned", "1 MiB of 10"],
)
def test_signed_webhooks_of_every_size_are_kept_meanwhile(
    door: Door, database: str, redis_db: str, heads: tuple[object, ...], size: int, addresses: int
) -> None:
    beginning = head("/webhooks/front", *(each() if callable(each) else each for each in heads))  # type: ignore[arg-type]
    with strangers(door.port, beginning, size, addresses=addresses):
        answers = [door.post(b"x" * size) for size in (1_000, 65_537, 70_000, 300_000, 3 * MIB) * 6]
    assert not refused_for_room(answers)
    # On a machine as busy as these strangers make it, the stores may be too slow for some. None of those is lost.
    assert statuses(answers)[200] >= 15
    assert len(in_intake(redis_db)) + spooled(database) >= statuses(answers)[200]


@pytest.mark.timeout(180)
def test_other_paths_hold_nothing(door: Door) -> None:
    process = psutil.Process(door.process.pid)

    def memory() -> int:
        return sum(each.memory_info().rss for each in process.children())

    before = memory()
    with strangers(door.port, head("/nowhere", forged(), LENGTH), 10 * MIB - 65_536):
        assert not refused_for_room([door.post(b"x" * 100_000) for _ in range(20)])
        assert memory() - before < 250 * MIB  # of connections; the bodies would take 800


@pytest.mark.timeout(180)
def test_a_finished_body_that_nobody_signed_gives_its_room_back(door: Door) -> None:
    def send_one() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
        with suppress(OSError):
            for _ in range(5):
                connection.request("POST", "/webhooks/front", b"x" * (9 * MIB), signed(b"other"))
                assert connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=send_one) for _ in range(20)]
    for thread in threads:
        thread.start()
    answers = [door.post(b"x" * 300_000) for _ in range(10)]
    for thread in threads:
        thread.join()
    assert statuses(answers) == {200: 10}
