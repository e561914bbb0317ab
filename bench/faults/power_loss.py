"""Power loss of Redis. `appendfsync always` must lose nothing; `everysec` must lose, or the test proves nothing."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import mean
from typing import TYPE_CHECKING, Any

import redis

from bench.faults.mortal_valkey import MortalValkey
from bench.faults.result import Result
from bench.faults.run import Run
from bench.harness.servers import hung
from sandbox.ledger import percentiles
from shared.intake.client import Intake
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.faults.run import Suite
    from bench.faults.scene import Scene
    from bench.harness.servers import Servers

    Answer = dict[str, Any]

SETTLES_WITHIN = 900.0  # seconds; a busy machine works slowly
BACKLOG_SECONDS = 1.5  # without PostgreSQL, so that acknowledged deliveries are in the intake alone
BETWEEN = 1.0  # seconds between two cuts
POLICIES = ("always", "everysec")
WRITERS = 8
WRITING_SECONDS = 1.5
OK = 200
BODY = b"x" * 2400


def power(suite: Suite) -> Iterator[Result]:
    """Cut the power under both policies, then measure the cost of the safe one."""
    with mortal(suite.servers, suite.folder / "mortal") as valkey:
        yield cuts(suite, valkey, "always")
        everysec = cuts(suite, valkey, "everysec")
    yield meant_to_lose(everysec)
    yield cost(suite)


@contextmanager
def mortal(servers: Servers, folder: Path) -> Iterator[MortalValkey]:
    """Replace the servers' Valkey by one that can lose its power."""
    usual = servers.valkey
    usual.stop()
    try:
        with MortalValkey(folder) as servers.valkey:
            yield servers.valkey
    finally:
        servers.valkey = usual.start()


def cuts(suite: Suite, valkey: MortalValkey, policy: str) -> Result:
    """Cut the power under mail, each time while the intake holds deliveries without a row."""
    gone, at_risk = 0, 0
    with suite.scene(f"power_{policy}") as scene:
        with scene.mail(per_second=30):
            for _ in range(suite.pick(2, 20)):
                scene.servers.set_fsync(policy)
                time.sleep(BETWEEN)
                with hung(scene.servers.postgres, BACKLOG_SECONDS):
                    time.sleep(BACKLOG_SECONDS)
                    held = scene.mailroom.intake_depth()
                    gone += valkey.lose_power()
                    valkey.start()
                scene.injected += bool(held)
                at_risk += held
        note = f"{at_risk} deliveries in the intake at the cuts, {gone:,} bytes of its log had not reached the disk"
        return scene.judge(within=SETTLES_WITHIN, note=note)


def meant_to_lose(result: Result) -> Result:
    """Judge a run that passes only if it loses deliveries and breaks no other promise."""
    broken = tuple(promise for promise in result.broken if promise != f"{result.lost} lost")
    blind = () if result.lost else ("nothing was lost under everysec: the power cut had no effect",)
    return replace(result, broken=broken + blind, note=f"meant to lose; {result.note}")


def cost(suite: Suite) -> Result:
    """Measure writes to the intake and answers of the door under both policies, in turns."""
    rounds, seconds = suite.pick((1, 2.0), (4, 10.0))
    with suite.scene("power_cost") as scene:
        costs = _measure(scene, rounds=rounds, seconds=seconds, per_second=50)
        note = "; ".join(f"{policy}: {found}" for policy, found in costs.items())
        return Result(name="power_cost", load=scene.front.totals()["sent"], injected=0, note=note)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One policy's answers of the door, and writes a second in each round by one writer and by several."""

    answers: list[Answer] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    several: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        door = percentiles([float(answer["seconds"]) for answer in self.answers])
        p50, p99 = (1000 * (door[name] or 0) for name in ("p50", "p99"))
        refused = sum(answer["status"] != OK for answer in self.answers)
        return (
            f"{mean(self.alone):,.0f} intake writes/s of one writer, {mean(self.several):,.0f} of {WRITERS},"
            f" door p50 {p50:.1f} ms p99 {p99:.1f} ms, {refused} of {len(self.answers)} refused"
        )


def _measure(scene: Scene, *, rounds: int, seconds: float, per_second: float) -> dict[str, Cost]:
    """Measure both policies in turns, so that other load on the machine meets both.

    The door comes first: the writers leave hundreds of megabytes to the disk, which would slow its answers.
    """
    costs = {policy: Cost() for policy in POLICIES}
    for cost in _turns(scene, costs, rounds):
        cost.answers.extend(_answers(scene, round(seconds * per_second), per_second))
    for cost in _turns(scene, costs, rounds):
        cost.alone.append(_writes_per_second(scene.servers.valkey.url, 1, WRITING_SECONDS))
        cost.several.append(_writes_per_second(scene.servers.valkey.url, WRITERS, WRITING_SECONDS))
    return costs


def _turns(scene: Scene, costs: dict[str, Cost], rounds: int) -> Iterator[Cost]:
    """Set each policy at the server in every round."""
    for _ in range(rounds):
        for policy, cost in costs.items():
            scene.servers.set_fsync(policy)
            yield cost


def _answers(scene: Scene, count: int, per_second: float) -> list[Answer]:
    began = time.time()
    company = scene.companies[0]
    nobody = [{"handle": "nobody@elsewhere.example", "role": "to"}]
    order = {"count": count, "rate": per_second, "threads": WRITERS, "recipients": nobody, "expect": "none"}
    scene.front.send("inbound_received", company, **order)
    return [each for each in scene.front.tries() if each["at"] >= began]


def _writes_per_second(redis_url: str, writers: int, seconds: float) -> float:
    """Write single deliveries from several threads into an intake that no recorder reads; return the rate."""
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


RUNS = (
    Run(
        name="power",
        promise="a power cut of Redis loses nothing with appendfsync always, and does with everysec",
        do=power,
    ),
)
