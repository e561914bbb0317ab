"""The doors that are measured: how each is started, and where it keeps the webhooks that it accepted."""

from __future__ import annotations

import os
import secrets
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import psycopg
import requests

from bench.harness.benchmark import OURS
from bench.harness.platform import Platform, base_environment, procfile_commands
from bench.harness.ports import free_port
from bench.harness.processes import expect
from bench.harness.webhooks import PATH
from bench.peers.install import NotInstalled, node_folder_of, python_of
from shared.intake.streams import STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import redis

    from bench.harness.servers import Servers

STARTS_WITHIN = 60.0
REWRITTEN_WITHIN = 60.0
BATCH = 1_000
UNAUTHORIZED = 401
#: Producers write these keys only when they start: kombu's routes and BullMQ's version.
SPARED = (b"_kombu.binding.", b"bull:webhooks:meta")
#: gunicorn's documentation advises two to four threads for each core.
THREADS = 4 * (os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """`command(port, processes)` starts it, or raises NotInstalled. `queued` counts its webhooks in Redis.

    `spools`: it writes to PostgreSQL what Redis does not take in time. `is_limit`: it shows a limit and keeps nothing.
    """

    name: str
    title: str
    command: Callable[[int, int], list[str]]
    queued: Callable[[redis.Redis], Any] | None = None
    spools: bool = False
    is_limit: bool = False


def _textbook(port: int, processes: int) -> list[str]:
    workers = ("-k", "gthread", "-w", str(processes), "--threads", str(THREADS), "--keep-alive", "5")
    quiet = ("--no-control-socket", "--log-level", "warning")
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "bench.peers.textbook.app:app",
        "-b",
        f"127.0.0.1:{port}",
        *workers,
        *quiet,
    ]


def _fastapi_arq(port: int, processes: int) -> list[str]:
    quiet = ("--no-access-log", "--log-level", "warning")
    options = ("--port", str(port), "--workers", str(processes), *quiet)
    return [str(python_of("fastapi_arq")), "-m", "uvicorn", "bench.peers.fastapi_arq.app:app", *options]


def _express_bullmq(_: int, __: int) -> list[str]:
    return ["node", str(node_folder_of("express_bullmq") / "server.js")]


def _on_our_server(target: str) -> Callable[[int, int], list[str]]:
    return lambda _, __: [sys.executable, "-m", "bench.door.bare_server", target]


CONTESTANTS = (
    Contestant(
        name=OURS,
        title="Mailroom's door as the Procfile starts it",
        command=lambda _, __: procfile_commands()["web"],
        queued=lambda client: client.xlen(STREAM),
        spools=True,
    ),
    Contestant(
        name="ceiling",
        title="the same server and Flask, the view does nothing",
        command=_on_our_server("bench.door.empty_view:open_empty_door"),
    ),
    Contestant(
        name="textbook",
        title="Flask, gunicorn (gthread), Celery's send_task",
        command=_textbook,
        queued=lambda client: client.llen("celery"),
    ),
    Contestant(
        name="fastapi_arq",
        title="FastAPI, uvicorn with uvloop and httptools, arq with hiredis",
        command=_fastapi_arq,
        queued=lambda client: client.zcard("arq:queue"),
    ),
    Contestant(
        name="express_bullmq",
        title="Express, Node's cluster, BullMQ",
        command=_express_bullmq,
        queued=lambda client: client.llen("bull:webhooks:wait"),
    ),
    Contestant(
        name="bare_server",
        title="Granian without Flask, answers at once",
        command=_on_our_server("bench.door.bare_server:open_bare"),
        is_limit=True,
    ),
    Contestant(
        name="sender_alone",
        title="one process that does not read requests: the limit of the sender",
        command=lambda port, _: [sys.executable, "-m", "bench.door.load", "limit", str(port)],
        is_limit=True,
    ),
)


class Doors:
    """Runs contestants in front of the same Redis, each on its own port; `left_out` has reasons by name."""

    def __init__(self, servers: Servers, urls: tuple[str, str], folder: Path, *, processes: int) -> None:
        self.key = secrets.token_hex(32)
        self.processes = processes
        self.left_out: dict[str, str] = {}
        self._servers = servers
        self._database_url, redis_url = urls
        self._ports: dict[str, int] = {}
        settings = {"DATABASE_URL": self._database_url, "REDIS_URL": redis_url, "FRONT_SIGNING_KEYS": self.key}
        own = {"MAILROOM_DATA": str(folder), "WEB_CONCURRENCY": str(processes), "NODE_ENV": "production"}
        self._platform = Platform({**base_environment(), **settings, **own}, folder)

    def __enter__(self) -> Self:
        self._platform.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._platform.__exit__()

    def start(self, contestants: Iterable[Contestant]) -> list[Contestant]:
        """Start those that can be started here and return them; they are idle until they are loaded."""
        return [each for each in contestants if self._start(each)]

    def port(self, contestant: Contestant) -> int:
        """Return the port that it listens on."""
        return self._ports[contestant.name]

    def pids(self, contestant: Contestant) -> list[int]:
        """Return its main process."""
        return self._platform.pids(contestant.name)

    @property
    def redis_pids(self) -> list[int]:
        """Return Redis' main process."""
        return [self._servers.valkey.pid]

    def clear(self, appendfsync: str) -> None:
        """Empty the queues and shorten Redis' log, which is not rewritten during a measurement."""
        with self._servers.redis() as client:
            client.config_set("auto-aof-rewrite-percentage", 0)
            keys = [key for key in client.scan_iter(count=BATCH) if not key.startswith(SPARED)]
            for begin in range(0, len(keys), BATCH):
                client.unlink(*keys[begin : begin + BATCH])
            client.bgrewriteaof()
            expect(lambda: not client.info("persistence")["aof_rewrite_in_progress"], REWRITTEN_WITHIN, "a short log")
        with psycopg.connect(self._database_url) as conn:
            conn.execute("DELETE FROM spooled_deliveries")
        self._servers.set_fsync(appendfsync)

    def count_kept(self, contestant: Contestant) -> int | None:
        """Count the webhooks that it keeps; None for a contestant that keeps nothing."""
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
        assert contestant.queued is None or _refuses(port), f"{contestant.name} accepts unsigned webhooks"
        return True


def _refuses(port: int) -> bool:
    unsigned = {"X-Front-Request-Timestamp": str(int(time.time() * 1000)), "X-Front-Signature": "bm9uZQ=="}
    return (
        requests.post(f"http://127.0.0.1:{port}{PATH}", b"{}", headers=unsigned, timeout=5).status_code == UNAUTHORIZED
    )


def answers(port: int) -> bool:
    """Tell whether a door is alive on this port."""
    try:
        return requests.get(f"http://127.0.0.1:{port}/livez", timeout=5).ok
    except requests.RequestException:
        return False
