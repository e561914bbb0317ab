"""What `appendfsync always` costs against `everysec`: writes into the inbox, and the door's answers."""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import mean
from typing import TYPE_CHECKING

import redis

from sandbox.percentiles import percentiles
from shared.inbox import Inbox
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.faults.scene import Scene

POLICIES = ("always", "everysec")
CROWD = 8
BODY = b"x" * 2400


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one policy: writes per second of each round, by one writer and by a crowd; and every answer of the door."""

    alone: list[float] = field(default_factory=list)
    crowd: list[float] = field(default_factory=list)
    answer_seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        door = percentiles(self.answer_seconds)
        p50, p99 = (1000 * (door[name] or 0) for name in ("p50", "p99"))
        writes = f"{mean(self.alone):,.0f} inbox writes/s of one writer, {mean(self.crowd):,.0f} of {CROWD}"
        return f"{writes}, door p50 {p50:.1f} ms p99 {p99:.1f} ms"


def measure(scene: Scene, *, rounds: int, seconds: float, per_second: float) -> dict[str, Cost]:
    """Both policies in turns, so that what else the machine does meets both."""
    costs: dict[str, Cost] = defaultdict(Cost)
    for policy in POLICIES * rounds:
        with scene.servers.redis() as client:
            client.config_set("appendfsync", policy)
        costs[policy].answer_seconds.extend(_answers(scene, round(seconds * per_second), per_second))
        costs[policy].alone.append(_writes_per_second(scene.servers.valkey.url, 1, seconds / 2))
        costs[policy].crowd.append(_writes_per_second(scene.servers.valkey.url, CROWD, seconds / 2))
    return dict(costs)


def _answers(scene: Scene, count: int, per_second: float) -> Sequence[float]:
    began = time.time()
    company = scene.companies[0]
    nobody = [{"handle": "nobody@elsewhere.example", "role": "to"}]
    order = {"count": count, "rate": per_second, "threads": CROWD, "recipients": nobody, "expect": "none"}
    scene.front.send("inbound_received", company, **order)
    tries = [each for each in scene.front.tries() if each["at"] >= began]
    refused = [each["status"] for each in tries if each["status"] != 200]
    assert not refused, f"the door answered {refused}"
    return [float(each["seconds"]) for each in tries]


def _writes_per_second(redis_url: str, writers: int, seconds: float) -> float:
    """Single deliveries from so many threads into an inbox that nobody reads."""
    with ThreadPoolExecutor(writers) as pool:
        written = sum(pool.map(lambda _: _write(redis_url, time.monotonic() + seconds), range(writers)))
    return written / seconds


def _write(redis_url: str, until: float) -> int:
    delivery = Delivery(id="00", body=BODY, received_at=datetime.now(UTC))
    count = 0
    with redis.Redis.from_url(redis_url.removesuffix("/0") + "/1") as client:
        inbox = Inbox(client)
        while time.monotonic() < until:
            inbox.put([delivery])
            count += 1
        client.flushdb()
    return count
