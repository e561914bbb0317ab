"""A door as a process of its own, and many concurrent senders."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import redis

from bench.harness.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.up.embedded.server import Server

ROOT = Path(__file__).parents[3]
KEY = b"signing-key"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response and its time in seconds."""

    status: int
    body: bytes
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Door:
    """A running door."""

    port: int
    process: subprocess.Popen[bytes]

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        began = time.monotonic()
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(status=response.status, body=response.read(), seconds=time.monotonic() - began)
        finally:
            connection.close()

    def post(self, body: bytes = b"{}") -> Answer:
        """Send one webhook, signed like Front's."""
        return self.request("POST", "/webhooks/front", body, signed(body))

    def post_many(self, count: int, *, at_once: int) -> list[Answer]:
        """Send many webhooks, each with a body of its own."""
        with ThreadPoolExecutor(at_once) as senders:
            return list(senders.map(lambda number: self.post(b"%d" % number), range(count)))


def signed(body: bytes) -> dict[str, str]:
    """Return Front's headers with a current signature."""
    at = str(int(time.time() * 1000))
    digest = hmac.new(KEY, at.encode() + b":" + body, hashlib.sha256).digest()
    return {"X-Front-Request-Timestamp": at, "X-Front-Signature": base64.b64encode(digest).decode()}


@contextmanager
def running_door(database_url: str, redis_url: str, log: Path, **settings: str) -> Iterator[Door]:
    """Run `python -m ingest` until the end of the block."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ingest"],
            env=os.environ
            | {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "FRONT_SIGNING_KEYS": KEY.decode()}
            | {"PORT": str(port), "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json", **settings},
            cwd=ROOT,
            stderr=output,
            stdout=output,
        )
    door = Door(port=port, process=process)
    try:
        _wait_until_alive(door)
        yield door
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_alive(door: Door) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            assert door.request("GET", "/livez").status == 200
        except OSError:
            assert door.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


@contextmanager
def frozen(*servers: Server) -> Iterator[None]:
    """Freeze servers with their children: their sockets stay open, and nothing answers."""
    processes = [
        process for server in servers for main in [psutil.Process(server.pid)]
        for process in (main, *main.children(recursive=True))
    ]  # fmt: skip
    _signal_all(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(processes, signal.SIGCONT)


def _signal_all(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # a child of PostgreSQL's may end at any time
            process.send_signal(number)


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def delivery_ids(answers: list[Answer]) -> set[str]:
    """Return the acknowledged delivery ids."""
    return {json.loads(answer.body)["delivery_id"] for answer in answers if answer.status == 200}


def in_intake(redis_url: str) -> list[str]:
    with redis.Redis.from_url(redis_url) as client:
        return [fields[b"id"].decode() for _, fields in client.xrange("mailroom:intake")]


def in_spool(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as conn:
        return [row[0].hex for row in conn.execute("SELECT id FROM spooled_deliveries")]
