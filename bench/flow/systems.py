"""A peer with its door, its worker and a small Front, on servers of its own."""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from bench.door.contestants import CONTESTANTS
from bench.door.stage import STARTS_WITHIN, answers
from bench.flow.side import TENANTS, Side
from bench.flow.stage import FAILINGS, companies_of, slow_front
from bench.harness.mail import desk
from bench.harness.mailroom import expect, surroundings
from bench.harness.platform import Platform
from bench.harness.ports import free_ports
from bench.harness.sandbox import Door, start_sandbox
from bench.harness.small_front import SmallFront
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.flow.peers import Peer
    from bench.harness.servers import Servers

TABLES = """
CREATE SCHEMA peer;
CREATE TABLE peer.tenants (company_id text PRIMARY KEY, token text NOT NULL);
CREATE TABLE peer.users (company_id text, address text, PRIMARY KEY (company_id, address));
CREATE TABLE peer.events (event_id text PRIMARY KEY, company_id text NOT NULL, conversation_id text NOT NULL,
                          recorded_at timestamptz NOT NULL DEFAULT now());
"""
#: A job that is tried again is for a moment in neither place.
EMPTY_LOOKS = 3
LOOKS_EVERY = 0.5


@contextmanager
def peer_side(peer: Peer, servers: Servers, folder: Path) -> Iterator[Side]:
    """Raises NotInstalled."""
    own = folder / peer.name
    own.mkdir(exist_ok=True)
    door_port, front_port = free_ports(2)
    door = Door(port=door_port, signing_key=secrets.token_hex(32))
    front = SmallFront(front_port, own / "sandbox" / "ledger.jsonl")
    companies = companies_of(peer.name.replace("_", ""), TENANTS)
    with servers.fresh() as urls, Platform(_environment(urls, door, front), own) as platform:
        start_sandbox(platform, front, door, slow_front())
        _furnish(urls[0], front, companies)
        _start_door(peer, platform, door)
        worker = peer.worker()
        yield Side(
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
        **surroundings(),
        "DATABASE_URL": urls[0],
        "REDIS_URL": urls[1],
        "FRONT_API_URL": f"http://127.0.0.1:{front.port}",
        "FRONT_SIGNING_KEYS": door.signing_key,
        "WEB_CONCURRENCY": str(Settings.model_fields["web_concurrency"].default),
        "PORT": str(door.port),
        "NODE_ENV": "production",
        "JOB_ID": "event",
    }


def _furnish(database_url: str, front: SmallFront, companies: Sequence[str]) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute(TABLES)
        for company in companies:
            conn.execute("INSERT INTO peer.tenants VALUES (%s, %s)", (company, front.found(company)))
            conn.execute("INSERT INTO peer.users VALUES (%s, %s)", (company, desk(company)))


def _start_door(peer: Peer, platform: Platform, door: Door) -> None:
    [contestant] = [each for each in CONTESTANTS if each.name == peer.name]
    processes = int(platform.environment["WEB_CONCURRENCY"])
    platform.run("web", contestant.command(door.port, processes))
    expect(lambda: answers(door.port), STARTS_WITHIN, f"{peer.name} answers")


def _settled(peer: Peer, servers: Servers, front: SmallFront, redis_url: str, deadline: float) -> bool:
    """Whether its queue stayed empty, and nobody sends, before the deadline."""
    empty = 0
    with servers.redis() as client:
        while empty < EMPTY_LOOKS and time.monotonic() < deadline:
            empty = 0 if peer.waiting(client) or front.verdict()["pending"] else empty + 1
            peer.wake(redis_url)
            time.sleep(LOOKS_EVERY)
    return empty == EMPTY_LOOKS
