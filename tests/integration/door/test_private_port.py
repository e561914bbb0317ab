"""Metrics and readiness are on a port of their own. The public port has them under no spelling of their paths."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import psutil
import pytest

from bench.harness.ports import free_port
from tests.integration.door.door_process import ROOT, Door, running_door

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRODUCTION = {"MAILROOM_ENV": "production", "FRONT_SIGNING_KEYS": "x" * 32, "HOST": "127.0.0.1"}
PATHS = ("/livez", "/readyz", "/metrics")
RELATIVES = (
    "/metrics", "//metrics", "///metrics", "/%6detrics", "/%6d%65trics", "//%6detrics", "/metrics/",
    "/./metrics", "/x/../metrics",
    "/metrics?x=1", "/metrics#x", "/metrics%00", "/metrics;x", "/METRICS", "/%2fmetrics", "/%2Fmetrics",
    "http://door/metrics", "http://door//metrics", "/readyz", "//readyz", "/%72eadyz", "/readyz?full", "/readyz/",
)  # fmt: skip


@pytest.fixture
def private() -> int:
    return free_port()


@pytest.fixture
def door(database: str, redis_db: str, tmp_path: Path, private: int) -> Iterator[Door]:
    with running_door(database, redis_db, tmp_path / "door.log", METRICS_PORT=str(private)) as door:
        yield door


def get(port: int, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    with closing(connection):
        connection.putrequest(method, path)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_the_public_port_shows_neither_metrics_nor_readiness(door: Door, method: str) -> None:
    assert {path: get(door.port, path, method)[0] for path in RELATIVES} == dict.fromkeys(RELATIVES, 404)


def test_the_private_port_shows_them(door: Door, private: int) -> None:
    assert door.post().status == 200
    answers = {path: get(private, path) for path in PATHS}
    assert {path: answer[0] for path, answer in answers.items()} == dict.fromkeys(PATHS, 200)
    assert b'mailroom_deliveries_total{result="intake"} 1.0' in answers["/metrics"][1]
    assert json.loads(answers["/readyz"][1]) == {"ready": True, "checks": {"intake": "writable"}}


def test_the_private_port_takes_no_webhooks(door: Door, private: int) -> None:
    assert get(private, "/webhooks/front")[0] == 404
    assert get(private, "/webhooks/front", "POST")[0] == 501
    assert get(private, "/metrics", "HEAD") == (200, b"")


def test_a_platform_asks_the_public_port_whether_the_door_is_alive(door: Door) -> None:
    assert get(door.port, "/livez") == (200, b'{"alive": true}')


def test_the_private_port_is_on_this_machine_alone(door: Door, private: int) -> None:
    listeners = [
        each.laddr for each in psutil.Process(door.process.pid).net_connections() if each.status == psutil.CONN_LISTEN
    ]
    assert [each.ip for each in listeners if each.port == private] == ["127.0.0.1"]


def test_in_production_no_port_has_them_unless_it_is_set(database: str, redis_db: str, tmp_path: Path) -> None:
    with running_door(database, redis_db, tmp_path / "door.log", **PRODUCTION) as door:
        assert {path: get(door.port, path)[0] for path in RELATIVES} == dict.fromkeys(RELATIVES, 404)
        assert get(door.port, "/livez")[0] == 200


def test_a_developers_door_shows_them_on_its_only_port(database: str, redis_db: str, tmp_path: Path) -> None:
    with running_door(database, redis_db, tmp_path / "door.log") as door:
        assert {path: get(door.port, path)[0] for path in PATHS} == dict.fromkeys(PATHS, 200)
        assert [get(door.port, path)[0] for path in ("//metrics", "/metrics/", "//readyz")] == [404, 404, 404]


def test_connections_that_say_nothing_keep_nobody_waiting(door: Door, private: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", private)) for _ in range(200)]
    for connection in idle:
        connection.sendall(b"GET /readyz HTTP/1.1\r\n")
    began = time.monotonic()
    assert get(private, "/readyz")[0] == 200
    assert time.monotonic() - began < 2.0
    for connection in idle:  # a drip does not prolong it
        connection.settimeout(20)
        assert connection.recv(1) == b""
        connection.close()


def test_a_killed_process_of_the_door_leaves_the_port_open(door: Door, private: int) -> None:
    psutil.Process(door.process.pid).children()[0].kill()
    for _ in range(50):
        assert get(private, "/metrics")[0] == 200
        time.sleep(0.05)


def test_a_new_door_opens_the_port_while_a_killed_ones_processes_still_end(
    database: str, redis_db: str, tmp_path: Path, private: int
) -> None:
    own = {"METRICS_PORT": str(private)}
    with running_door(database, redis_db, tmp_path / "killed.log", **own) as killed:
        left = psutil.Process(killed.process.pid).children()
        for each in left:
            each.suspend()
        killed.process.kill()
        with running_door(database, redis_db, tmp_path / "door.log", **own) as door:
            for each in left:
                each.kill()
            psutil.wait_procs(left)
            assert door.process.poll() is None
            assert get(private, "/readyz")[0] == 200


def test_another_address_may_be_set(database: str, redis_db: str, tmp_path: Path, private: int) -> None:
    own = {"METRICS_PORT": str(private), "METRICS_HOST": "::1", "WEB_CONCURRENCY": "1"}
    with running_door(database, redis_db, tmp_path / "door.log", **own):
        assert get(private, "/readyz", host="::1")[0] == 200
        with pytest.raises(ConnectionRefusedError):
            get(private, "/readyz")


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"PORT": "18080", "METRICS_PORT": "18080"}, "METRICS_PORT: "),
        ({"METRICS_PORT": "8081"}, "METRICS_PORT: "),
        ({"METRICS_PORT": "taken"}, "METRICS_PORT: cannot listen on port"),
        ({"METRICS_PORT": "8083", "METRICS_HOST": "203.0.113.9"}, "METRICS_HOST: "),
        ({"METRICS_PORT": "70000"}, "METRICS_PORT: "),
    ],
    ids=["the public one", "the console's", "taken", "another machine's", "none"],
)
def test_a_port_that_cannot_be_is_told(own: dict[str, str], told: str, database: str, redis_db: str) -> None:
    needed = {"DATABASE_URL": database, "REDIS_URL": redis_db, "FRONT_SIGNING_KEYS": "k", "PORT": str(free_port())}
    with socket.create_server(("127.0.0.1", 0)) as other:
        if own["METRICS_PORT"] == "taken":
            own = {"METRICS_PORT": str(other.getsockname()[1])}
        ended = subprocess.run(
            [sys.executable, "-m", "ingest"], env=os.environ | needed | own, cwd=ROOT,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert ended.returncode == 78
    assert ended.stderr.splitlines()[-1].startswith(told)
    assert "Traceback" not in ended.stderr
