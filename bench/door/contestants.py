"""Who is measured, how each is started, and where it keeps what it took."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.door.figures import OURS
from bench.harness.procfile import shipped
from bench.peers.install import node_folder_of, python_of
from shared.intake.client import STREAM

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

#: gunicorn's documents: two to four threads for each core.
THREADS = 4 * (os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """`command(port, processes)` starts it; raises NotInstalled. `queued`: how many webhooks Redis has of it.

    `spools`: what Redis does not take in time is in PostgreSQL. `is_limit`: shows what server and sender can do.
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
    return lambda _, __: [sys.executable, "-m", "bench.door.servers.granian", target]


CONTESTANTS = (
    Contestant(
        name=OURS,
        title="Mailroom's door as the Procfile starts it",
        command=lambda _, __: shipped()["web"],
        queued=lambda client: client.xlen(STREAM),
        spools=True,
    ),
    Contestant(
        name="ceiling",
        title="the same server and Flask, the view does nothing",
        command=_on_our_server("bench.door.servers.empty_view:open_empty"),
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
        command=_on_our_server("bench.door.servers.bare:open_bare"),
        is_limit=True,
    ),
    Contestant(
        name="sender_alone",
        title="a server that does not look at requests, one process: the limit of the sender",
        command=lambda port, _: [sys.executable, "-m", "bench.door.servers.nothing", str(port)],
        is_limit=True,
    ),
)
