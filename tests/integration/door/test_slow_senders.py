"""Slow senders do not delay others, and the door disconnects them."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from bench.harness.slow_senders import HEAD, SLOW_BODY, SLOW_CHUNKS, SLOW_HEADERS, dripping
from tests.integration.door.door_process import Door, running_door, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = 500
IN_TIME = 2.0  # seconds


@pytest.fixture(autouse=True)
def enough_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))


@pytest.fixture
def plain_door(database: str, redis_db: str, tmp_path: Path) -> Iterator[Door]:
    with running_door(database, redis_db, tmp_path / "door.log") as door:
        yield door


@pytest.mark.parametrize("beginning", [SLOW_HEADERS, SLOW_BODY, SLOW_CHUNKS], ids=["headers", "bodies", "chunks"])
def test_500_slow_senders_do_not_keep_others_waiting(plain_door: Door, beginning: bytes) -> None:
    with dripping(plain_door.port, MANY, beginning) as slow:
        answers = plain_door.post_many(200, at_once=8)
        assert slow.open == MANY
    assert statuses(answers) == {200: 200}
    assert sum(answer.seconds < IN_TIME for answer in answers) >= 198


def test_slow_senders_cost_no_threads(plain_door: Door) -> None:
    processes = psutil.Process(plain_door.process.pid).children()
    with dripping(plain_door.port, MANY, SLOW_BODY):
        plain_door.post()
        assert sum(process.num_threads() for process in processes) < 50


@pytest.mark.parametrize(
    ("beginning", "status"),
    [(HEAD + b"Content-Length: 60000\r\n\r\n", b"408"), (SLOW_CHUNKS, b"408"), (SLOW_BODY, b"401")],
    ids=["small", "chunks", "large and unsigned"],
)
def test_slow_bodies_are_sent_away(plain_door: Door, beginning: bytes, status: bytes) -> None:
    with dripping(plain_door.port, 20, beginning) as slow:
        wait_until_empty(slow)
    assert {answer.split(b" ")[1] for answer in slow.answers} == {status}


def test_slow_headers_are_sent_away(plain_door: Door) -> None:
    with dripping(plain_door.port, 20, SLOW_HEADERS) as slow:
        wait_until_empty(slow)


def wait_until_empty(slow: object) -> None:
    deadline = time.monotonic() + 60
    while slow.open:  # type: ignore[attr-defined]
        assert time.monotonic() < deadline, slow.open
        time.sleep(0.1)
