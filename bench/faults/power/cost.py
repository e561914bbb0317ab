"""What `appendfsync always` costs against `everysec`: writes into the intake, and the door's answers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import mean
from typing import TYPE_CHECKING, Any

import redis

from sandbox.ledger import percentiles
from shared.intake.client import Intake
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.faults.scene import Scene

    Answer = dict[str, Any]

POLICIES = ("always", "everysec")
CROWD = 8
WRITING_SECONDS = 1.5
OK = 200
BODY = b"x" * 2400


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one policy: every answer of the door; writes per second of each round, by one writer and by a crowd."""

    answers: list[Answer] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    crowd: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        door = percentiles([float(answer["seconds"]) for answer in self.answers])
        p50, p99 = (1000 * (door[name] or 0) for name in ("p50", "p99"))
        refused = sum(answer["status"] != OK for answer in self.answers)
        return (
            f"{mean(self.alone):,.0f} intake writes/s of one writer, {mean(self.crowd):,.0f} of {CROWD},"
            f" door p50 {p50:.1f} ms p99 {p99:.1f} ms, {refused} of {len(self.answers)} refused"
        )


def measure(scene: Scene, *, rounds: int, seconds: float, per_second: float) -> dict[str, Cost]:
    """Both policies in turns, so that what else the machine does meets both.

    The door comes first: the writers leave hundreds of megabytes to the disk, which would slow its answers.
    """
    costs = {policy: Cost() for policy in POLICIES}
    for cost in _turns(scene, costs, rounds):
        cost.answers.extend(_answers(scene, round(seconds * per_second), per_second))
    for cost in _turns(scene, costs, rounds):
        cost.alone.append(_writes_per_second(scene.servers.valkey.url, 1, WRITING_SECONDS))
        cost.crowd.append(_writes_per_second(scene.servers.valkey.url, CROWD, WRITING_SECONDS))
    return costs


def _turns(scene: Scene, costs: dict[str, Cost], rounds: int) -> Iterator[Cost]:
    """Each policy, set at the server, in every round."""
    for _ in range(rounds):
        for policy, cost in costs.items():
            scene.servers.set_fsync(policy)
            yield cost


def _answers(scene: Scene, count: int, per_second: float) -> list[Answer]:
    began = time.time()
    company = scene.companies[0]
    nobody = [{"handle": "nobody@elsewhere.example", "role": "to"}]
    order = {"count": count, "rate": per_second, "threads": CROWD, "recipients": nobody, "expect": "none"}
    scene.front.send("inbound_received", company, **order)
    return [each for each in scene.front.tries() if each["at"] >= began]


def _writes_per_second(redis_url: str, writers: int, seconds: float) -> float:
    """Single deliveries from so many threads into an intake that nobody reads."""
    with ThreadPoolExecutor(writers) as pool:
        written = sum(pool.map(lambda _: _write(redis_url, time.monotonic() + seconds), range(writers)))
    return written / seconds


def _write(redis_url: str, until: float) -> int:
    delivery = Delivery(id="00", body=BODY, received_at=datetime.now(UTC))
    count = 0
    with redis.Redis.from_url(redis_url.removesuffix("/0") + "/1") as client:
        intake = Intake(client)
        while time.monotonic() < until:
            intake.put([delivery])
            count += 1
        client.flushdb()
    return count
