"""The peers' workers: how each is started, and what it still has to do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.peers.install import node_folder_of, python_of
from bench.peers.terms import SLOTS
from bench.peers.textbook.tasks import celery

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis


@dataclass(frozen=True, kw_only=True)
class Peer:
    """`name` is its door's among the contestants. `worker()` starts what is behind; raises NotInstalled.

    `waiting`: how many webhooks are queued, in work, or to be tried again. `wake`: what its library does now and then.
    """

    name: str
    title: str
    worker: Callable[[], list[str]]
    waiting: Callable[[redis.Redis], Any]
    wake: Callable[[str], None] = lambda _: None


def _textbook() -> list[str]:
    options = ("-P", "threads", "-c", str(SLOTS), "--without-gossip", "--without-mingle", "-l", "ERROR")
    return [sys.executable, "-m", "celery", "-A", "bench.peers.textbook.worker", "worker", *options]


def _in_celery(client: Any) -> Any:
    return client.llen("celery") + client.hlen("unacked")


def _restore(redis_url: str) -> None:
    """Put back what dead workers had, as kombu does every 100 seconds."""
    with celery(redis_url) as app, app.connection_for_read() as connection:
        channel: Any = connection.default_channel  # of kombu's Redis transport
        channel.qos.restore_visible(num=None, interval=1)


def _fastapi_arq() -> list[str]:
    return [str(python_of("fastapi_arq")), "-m", "arq", "bench.peers.fastapi_arq.worker.WorkerSettings"]


def _express_bullmq() -> list[str]:
    return ["node", str(node_folder_of("express_bullmq") / "worker.js")]


def _in_bull(client: Any) -> Any:
    lists = sum(client.llen(f"bull:webhooks:{name}") for name in ("wait", "active"))
    return lists + client.zcard("bull:webhooks:delayed")


PEERS = (
    Peer(
        name="textbook",
        title="Flask, gunicorn, a Celery task each (16 threads, acks_late, autoretry_for), psycopg, requests",
        worker=_textbook,
        waiting=_in_celery,
        wake=_restore,
    ),
    Peer(
        name="fastapi_arq",
        title="FastAPI, an arq job each (max_jobs 16, max_tries, _job_id), asyncpg, httpx",
        worker=_fastapi_arq,
        waiting=lambda client: client.zcard("arq:queue"),
    ),
    Peer(
        name="express_bullmq",
        title="Express, a BullMQ job each (concurrency 16, attempts, backoff, jobId), pg, fetch",
        worker=_express_bullmq,
        waiting=_in_bull,
    ),
)
