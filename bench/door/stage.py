"""Where all doors stand: started the same way, in front of the same Redis, each on a port of its own."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Self

import psycopg
import requests

from bench.door.webhooks import PATH
from bench.harness.mailroom import expect, surroundings
from bench.harness.platform import Platform
from bench.harness.ports import free_port
from bench.peers.install import NotInstalled

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.door.contestants import Contestant
    from bench.harness.servers import Servers

STARTS_WITHIN = 60.0
REWRITTEN_WITHIN = 60.0
PIECE = 1_000
UNAUTHORIZED = 401
#: kombu's routes and BullMQ's version: producers write them once, when they start.
SPARED = (b"_kombu.binding.", b"bull:webhooks:meta")


class Stage:
    """`left_out`: those who cannot be measured here, and why."""

    def __init__(self, servers: Servers, urls: tuple[str, str], folder: Path, *, processes: int) -> None:
        self.key = secrets.token_hex(32)
        self.processes = processes
        self.left_out: dict[str, str] = {}
        self._servers = servers
        self._database_url, redis_url = urls
        self._ports: dict[str, int] = {}
        settings = {"DATABASE_URL": self._database_url, "REDIS_URL": redis_url, "FRONT_SIGNING_KEYS": self.key}
        own = {"MAILROOM_DATA": str(folder), "WEB_CONCURRENCY": str(processes), "NODE_ENV": "production"}
        self._platform = Platform({**surroundings(), **settings, **own}, folder)

    def __enter__(self) -> Self:
        self._platform.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._platform.__exit__()

    def start(self, contestants: Iterable[Contestant]) -> list[Contestant]:
        """Start all that can be started here; who has started waits for nothing and uses nothing meanwhile."""
        return [each for each in contestants if self._start(each)]

    def port(self, contestant: Contestant) -> int:
        """Where it listens."""
        return self._ports[contestant.name]

    def pids(self, contestant: Contestant) -> list[int]:
        """Its main process."""
        return self._platform.pids(contestant.name)

    @property
    def redis_pids(self) -> list[int]:
        """Redis' main process."""
        return [self._servers.valkey.pid]

    def clear(self, appendfsync: str) -> None:
        """Empty queues and a short log for the next one, and no rewriting of the log while it is measured."""
        with self._servers.redis() as client:
            client.config_set("auto-aof-rewrite-percentage", 0)
            keys = [key for key in client.scan_iter(count=PIECE) if not key.startswith(SPARED)]
            for begin in range(0, len(keys), PIECE):
                client.unlink(*keys[begin : begin + PIECE])
            client.bgrewriteaof()
            expect(lambda: not client.info("persistence")["aof_rewrite_in_progress"], REWRITTEN_WITHIN, "a short log")
        with psycopg.connect(self._database_url) as conn:
            conn.execute("DELETE FROM spooled_deliveries")
        self._servers.set_fsync(appendfsync)

    def kept(self, contestant: Contestant) -> int | None:
        """How many webhooks are where it keeps them; None of one that keeps nothing."""
        if contestant.queued is None:
            return None
        with self._servers.redis() as client:
            queued = int(contestant.queued(client))
        return queued + (self._spooled() if contestant.spools else 0)

    def _spooled(self) -> int:
        with psycopg.connect(self._database_url) as conn:
            row = conn.execute("SELECT count(*) FROM spooled_deliveries").fetchone()
        return int(row[0]) if row else 0

    def _start(self, contestant: Contestant) -> bool:
        port = free_port()
        try:
            command = contestant.command(port, self.processes)
        except NotInstalled as why:
            self.left_out[contestant.name] = str(why)
            return False
        self._ports[contestant.name] = port
        self._platform.run(contestant.name, command, PORT=str(port))
        expect(lambda: answers(port), STARTS_WITHIN, f"{contestant.name} answers")
        assert contestant.queued is None or _refuses(port), f"{contestant.name} takes what nobody signed: no comparison"
        return True


def _refuses(port: int) -> bool:
    unsigned = {"X-Front-Request-Timestamp": str(int(time.time() * 1000)), "X-Front-Signature": "bm9uZQ=="}
    return (
        requests.post(f"http://127.0.0.1:{port}{PATH}", b"{}", headers=unsigned, timeout=5).status_code == UNAUTHORIZED
    )


def answers(port: int) -> bool:
    """Whether somebody is alive there."""
    try:
        return requests.get(f"http://127.0.0.1:{port}/livez", timeout=5).ok
    except requests.RequestException:
        return False
