"""The door on healthy servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import redis

from shared.process.metrics import publish_tenants_at_limit
from tests.integration.door.door_process import ROOT, Door, delivery_ids, in_intake, running_door, signed, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def plain_door(database: str, redis_db: str, tmp_path: Path) -> Iterator[Door]:
    with running_door(database, redis_db, tmp_path / "door.log") as door:
        yield door


def test_all_that_is_acknowledged_is_in_the_intake_once(plain_door: Door, redis_db: str) -> None:
    answers = plain_door.post_many(300, at_once=32)
    assert statuses(answers) == {200: 300}
    assert sorted(in_intake(redis_db)) == sorted(delivery_ids(answers))


def test_the_recorder_is_told_once(plain_door: Door, redis_db: str) -> None:
    plain_door.post()
    plain_door.post()
    with redis.Redis.from_url(redis_db) as client:
        while not (told := client.lrange("record", 0, -1)):
            time.sleep(0.01)
    assert [json.loads(message)["headers"]["task"] for message in told] == ["mailroom.record_intake"]


def test_a_chunked_body_is_taken_whole(plain_door: Door, redis_db: str) -> None:
    body = b"x" * 100_000
    answer = plain_door.request("POST", "/webhooks/front", iter([body[:70_000], body[70_000:]]), signed(body))  # type: ignore[arg-type]
    assert answer.status == 200
    assert len(in_intake(redis_db)) == 1


def send_raw(door: Door, request: bytes, *, pieces: int = 0) -> bytes:
    """Send bytes as they are, then as many chunks of 1 MB as the door takes; return the beginning of its answer."""
    with closing(socket.create_connection(("127.0.0.1", door.port), timeout=20)) as connection:
        connection.sendall(request)
        try:
            for _ in range(pieces):
                connection.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
        except OSError:
            pass  # the door has closed the connection
        return connection.recv(200)


def test_an_endless_body_is_413_and_not_swallowed(plain_door: Door, redis_db: str) -> None:
    head = b"POST /webhooks/front HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert send_raw(plain_door, head, pieces=100).startswith(b"HTTP/1.1 413")
    assert in_intake(redis_db) == []


def test_a_body_announced_too_large_is_413_before_it_is_sent(plain_door: Door) -> None:
    head = b"POST /webhooks/front HTTP/1.1\r\nHost: door\r\nContent-Length: 99999999999\r\n\r\n"
    assert send_raw(plain_door, head).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "head",
    [
        b"POST /webhooks/front HTTP/1.1\r\nHost: door\r\nContent-Length: -1\r\n\r\n",
        b"POST /webhooks/front HTTP/1.1\r\nHost: door\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"nonsense\r\n\r\n",
    ],
    ids=["negative", "two lengths", "no HTTP"],
)
def test_a_malformed_request_is_400(plain_door: Door, head: bytes) -> None:
    assert send_raw(plain_door, head).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("query", ["a=€".encode(), b"a=%ff"], ids=["bytes", "encoded"])
def test_a_query_is_no_concern_of_the_door(plain_door: Door, query: bytes) -> None:
    head = b"GET /livez?" + query + b" HTTP/1.1\r\nHost: door\r\n\r\n"
    assert send_raw(plain_door, head).startswith(b"HTTP/1.1 200")


def test_a_body_that_ends_early_is_400(plain_door: Door) -> None:
    with closing(socket.create_connection(("127.0.0.1", plain_door.port), timeout=30)) as sender:
        sender.sendall(b"POST /webhooks/front HTTP/1.1\r\nHost: door\r\nContent-Length: 7\r\n\r\nabc")
        sender.shutdown(socket.SHUT_WR)
        assert sender.recv(100).startswith(b"HTTP/1.1 400")


def test_512_idle_connections_leave_room(plain_door: Door) -> None:
    idle = [socket.create_connection(("127.0.0.1", plain_door.port)) for _ in range(512)]
    for connection in idle:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: door\r\n\r\n")
    assert all(connection.recv(100).startswith(b"HTTP/1.1 200") for connection in idle)
    assert plain_door.post().status == 200
    for connection in idle:
        connection.close()


def test_the_processes_of_a_door_add_up(plain_door: Door) -> None:
    plain_door.post_many(50, at_once=8)
    shown = plain_door.request("GET", "/metrics").body.decode()
    assert 'mailroom_deliveries_total{result="intake"} 50.0' in shown


def test_the_figures_of_tenants_at_fronts_rate_limit_are_shown(plain_door: Door, redis_db: str) -> None:
    figures = {"tenant": 'Acme "A"', "limit": 120, "used": 117, "wasted": 2, "waiting": 562, "waiting_live": 1}
    unknown = {"tenant": "Bolt", "limit": None, "used": None, "wasted": None, "waiting": 3, "waiting_live": 0}
    with redis.Redis.from_url(redis_db) as client:
        publish_tenants_at_limit(client, [figures, unknown])
    shown = plain_door.request("GET", "/metrics").body.decode()
    assert [line for line in shown.splitlines() if line.startswith("mailroom_front_")] == [
        'mailroom_front_calls{result="used",tenant="Acme \\"A\\""} 117.0',
        'mailroom_front_calls{result="wasted",tenant="Acme \\"A\\""} 2.0',
        'mailroom_front_limit{tenant="Acme \\"A\\""} 120.0',
        'mailroom_front_waiting_tasks{lane="live",tenant="Acme \\"A\\""} 1.0',
        'mailroom_front_waiting_tasks{lane="backlog",tenant="Acme \\"A\\""} 562.0',
        'mailroom_front_waiting_tasks{lane="live",tenant="Bolt"} 0.0',
        'mailroom_front_waiting_tasks{lane="backlog",tenant="Bolt"} 3.0',
    ]


def test_each_delivery_has_a_line_that_begins_with_its_id(plain_door: Door, tmp_path: Path) -> None:
    [id_] = delivery_ids([plain_door.post(b"a body nobody should read")])
    log = (tmp_path / "door.log").read_text()
    assert f'{{"delivery_id": "{id_}", "event": "delivery_kept", "level": "debug"' in log
    assert "nobody should read" not in log


def test_it_stops_on_term_and_answers_what_it_has_taken(plain_door: Door) -> None:
    before = plain_door.post_many(50, at_once=16)
    plain_door.process.send_signal(signal.SIGTERM)
    assert plain_door.process.wait(25) == 0
    assert statuses(before) == {200: 50}


def test_it_stops_at_once_while_it_starts(database: str, redis_db: str, tmp_path: Path) -> None:
    """A process that gets TERM before it listens must end without a kill."""
    log = tmp_path / "door.log"
    with running_door(database, redis_db, log, WEB_CONCURRENCY="8") as door:
        door.process.send_signal(signal.SIGTERM)
        assert door.process.wait(60) == 0
    assert "Shutting down granian" in log.read_text()
    assert "Killing worker" not in log.read_text()


def test_wrong_settings_are_told_all_at_once(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FRONT_", "REDIS", "DATABASE"))}
    ended = subprocess.run(
        [sys.executable, "-m", "ingest"],
        env=clean | {"MAILROOM_DATA": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 78
    assert all(name in ended.stderr for name in (b"FRONT_SIGNING_KEYS", b"DATABASE_URL", b"REDIS_URL"))


NOT_LOADED = """
import sys
from ingest.server import open_door
open_door()
unneeded = {"psycopg_pool", "requests", "workers", "console", "shared.front.envelope", "obstore"}
print(*sorted(unneeded & set(sys.modules)))
"""


def test_the_door_loads_nothing_it_does_not_need() -> None:
    needed = {"FRONT_SIGNING_KEYS": "key", "REDIS_URL": "redis://cache/0", "DATABASE_URL": "postgresql:///db"}
    ended = subprocess.run(
        [sys.executable, "-c", NOT_LOADED],
        cwd=ROOT,
        env=os.environ | needed,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == []
