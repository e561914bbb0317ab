"""The systems that are compared: Mailroom, and each peer with its door and worker, all beside a small Front."""

from __future__ import annotations

import secrets
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from bench.door.contestants import CONTESTANTS, STARTS_WITHIN, answers
from bench.flow.fixture import TENANTS, companies_of, fixture, slow_front
from bench.harness.mail import desk
from bench.harness.mailroom import BEHIND_THE_DOOR
from bench.harness.platform import Door, Platform, base_environment, start_sandbox
from bench.harness.ports import free_ports
from bench.harness.processes import expect, wait_until
from bench.harness.small_front import FAILINGS, SmallFront
from bench.peers.install import node_folder_of, python_of
from bench.peers.textbook.tasks import celery
from bench.peers.webhook import SLOTS
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import redis

    from bench.harness.servers import Servers

#: The peers take as long to give up a silent worker; Mailroom's usual lease is longer.
LEASE_SECONDS = "30"
TABLES = """
CREATE SCHEMA peer;
CREATE TABLE peer.tenants (company_id text PRIMARY KEY, token text NOT NULL);
CREATE TABLE peer.users (company_id text, address text, PRIMARY KEY (company_id, address));
CREATE TABLE peer.events (event_id text PRIMARY KEY, company_id text NOT NULL, conversation_id text NOT NULL,
                          recorded_at timestamptz NOT NULL DEFAULT now());
"""
#: A job that is retried is in neither list for a moment, so the queue must be seen empty this often.
EMPTY_POLLS = 3
POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class System:
    """A system whose door is open; `start` starts the processes behind it, and `behind` names those to kill.

    `settle` waits this many seconds and tells whether all work was done. `verdict` counts the failings so far.
    """

    servers: Servers
    platform: Platform
    front: SmallFront
    companies: Sequence[str]
    behind: Sequence[str]
    start: Callable[[], None]
    settle: Callable[[float], bool]
    verdict: Callable[[], dict[str, int]]


@contextmanager
def our_system(servers: Servers, folder: Path) -> Iterator[System]:
    """Run Mailroom as the Procfile has it."""
    with fixture(servers, folder, "ours", companies=TENANTS, LEASE_SECONDS=LEASE_SECONDS) as on:
        mailroom, platform = on.mailroom, on.mailroom.platform
        problems = platform.stop(*BEHIND_THE_DOOR)
        assert not problems, problems
        yield System(
            servers=servers,
            platform=platform,
            front=mailroom.front,
            companies=on.companies,
            behind=("recorder", "worker"),
            start=lambda: platform.procfile({"web": 0}, pool="threads"),
            settle=lambda seconds: wait_until(lambda: not mailroom.unsettled(), seconds, every=0.5),
            verdict=on.verdict,
        )


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A peer's worker. `name` is that of its door; `worker` returns the command, or raises NotInstalled.

    `waiting` counts the webhooks that are queued, running or to be retried. `restore` does its library's periodic work.
    """

    name: str
    title: str
    worker: Callable[[], list[str]]
    waiting: Callable[[redis.Redis], Any]
    restore: Callable[[str], None] = lambda _: None


def _textbook() -> list[str]:
    options = ("-P", "threads", "-c", str(SLOTS), "--without-gossip", "--without-mingle", "-l", "ERROR")
    return [sys.executable, "-m", "celery", "-A", "bench.peers.textbook.worker", "worker", *options]


def _in_celery(client: Any) -> Any:
    return client.llen("celery") + client.hlen("unacked")


def _restore_celery(redis_url: str) -> None:
    """Put back the messages of dead workers, as kombu does every 100 seconds."""
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
        restore=_restore_celery,
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


@contextmanager
def peer_system(peer: Peer, servers: Servers, folder: Path) -> Iterator[System]:
    """Run a peer with its own database. Raises NotInstalled."""
    own = folder / peer.name
    own.mkdir(exist_ok=True)
    door_port, front_port = free_ports(2)
    door = Door(port=door_port, signing_key=secrets.token_hex(32))
    front = SmallFront(front_port, own / "sandbox" / "ledger.jsonl")
    companies = companies_of(peer.name.replace("_", ""), TENANTS)
    with servers.fresh() as urls, Platform(_environment(urls, door, front), own) as platform:
        start_sandbox(platform, front, door, slow_front())
        _create_companies(urls[0], front, companies)
        _start_door(peer, platform, door)
        worker = peer.worker()
        yield System(
            servers=servers,
            platform=platform,
            front=front,
            companies=companies,
            behind=("worker",),
            start=lambda: platform.run("worker", worker),
            settle=lambda seconds: _settled(peer, servers, front, urls[1], time.monotonic() + seconds),
            verdict=lambda: {failing: int(front.verdict()[failing]) for failing in FAILINGS},
        )


def _environment(urls: tuple[str, str], door: Door, front: SmallFront) -> dict[str, str]:
    return {
        **base_environment(),
        "DATABASE_URL": urls[0],
        "REDIS_URL": urls[1],
        "FRONT_API_URL": f"http://127.0.0.1:{front.port}",
        "FRONT_SIGNING_KEYS": door.signing_key,
        "WEB_CONCURRENCY": str(Settings.model_fields["web_concurrency"].default),
        "PORT": str(door.port),
        "NODE_ENV": "production",
        "JOB_ID": "event",
    }


def _create_companies(database_url: str, front: SmallFront, companies: Sequence[str]) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute(TABLES)
        for company in companies:
            conn.execute("INSERT INTO peer.tenants VALUES (%s, %s)", (company, front.create(company)))
            conn.execute("INSERT INTO peer.users VALUES (%s, %s)", (company, desk(company)))


def _start_door(peer: Peer, platform: Platform, door: Door) -> None:
    [contestant] = [each for each in CONTESTANTS if each.name == peer.name]
    processes = int(platform.environment["WEB_CONCURRENCY"])
    platform.run("web", contestant.command(door.port, processes))
    expect(lambda: answers(door.port), STARTS_WITHIN, f"{peer.name} answers")


def _settled(peer: Peer, servers: Servers, front: SmallFront, redis_url: str, deadline: float) -> bool:
    """Tell whether its queue stayed empty, with nothing on the way to it, before the deadline."""
    empty = 0
    with servers.redis() as client:
        while empty < EMPTY_POLLS and time.monotonic() < deadline:
            empty = 0 if peer.waiting(client) or front.verdict()["pending"] else empty + 1
            peer.restore(redis_url)
            time.sleep(POLL_SECONDS)
    return empty == EMPTY_POLLS
