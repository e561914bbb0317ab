"""Power loss of Redis. `appendfsync always` must lose nothing; `everysec` must, or the cut does not cut."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.faults.power.cost import measure
from bench.faults.power.valkey import MortalValkey
from bench.faults.result import Result
from bench.faults.run import Run
from bench.harness.servers import hung

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.faults.run import Suite
    from bench.harness.servers import Servers

SETTLES_WITHIN = 900.0  # seconds; a crowded machine works slowly
BACKLOG_SECONDS = 1.5  # without PostgreSQL, so that acknowledged deliveries are in the inbox and nowhere else
BETWEEN = 1.0  # seconds


def power(suite: Suite) -> Iterator[Result]:
    """Cut the power under both policies, then say what the safe one costs."""
    with mortal(suite.servers, suite.folder / "mortal") as valkey:
        yield cuts(suite, valkey, "always")
        everysec = cuts(suite, valkey, "everysec")
    yield meant_to_lose(everysec)
    yield cost(suite)


@contextmanager
def mortal(servers: Servers, folder: Path) -> Iterator[MortalValkey]:
    """Have the servers' Valkey replaced by one that can lose its power."""
    usual = servers.valkey
    usual.stop()
    try:
        with MortalValkey(folder) as servers.valkey:
            yield servers.valkey
    finally:
        servers.valkey = usual.start()


def cuts(suite: Suite, valkey: MortalValkey, policy: str) -> Result:
    """Power cuts under mail, each while the inbox holds deliveries that no row has yet."""
    gone, at_risk = 0, 0
    with suite.scene(f"power_{policy}") as scene:
        with scene.mail(per_second=30):
            for _ in range(suite.pick(2, 20)):
                scene.servers.set_fsync(policy)
                time.sleep(BETWEEN)
                with hung(scene.servers.postgres, BACKLOG_SECONDS):
                    time.sleep(BACKLOG_SECONDS)
                    held = scene.mailroom.inbox_depth()
                    gone += valkey.lose_power()
                    valkey.start()
                scene.injected += bool(held)
                at_risk += held
        note = f"{at_risk} deliveries in the inbox at the cuts, {gone:,} bytes of its log had not reached the disk"
        return scene.judge(within=SETTLES_WITHIN, note=note)


def meant_to_lose(result: Result) -> Result:
    """The verdict on a run whose loss is what it is to show."""
    broken = tuple(promise for promise in result.broken if promise != f"{result.lost} lost")
    blind = () if result.lost else ("nothing was lost under everysec: this cut does not cut",)
    return replace(result, broken=broken + blind, note=f"meant to lose; {result.note}")


def cost(suite: Suite) -> Result:
    """Writes into the inbox and answers of the door under both policies, in turns."""
    rounds, seconds = suite.pick((1, 2.0), (4, 10.0))
    with suite.scene("power_cost") as scene:
        costs = measure(scene, rounds=rounds, seconds=seconds, per_second=50)
        note = "; ".join(f"{policy}: {found}" for policy, found in costs.items())
        return Result(name="power_cost", load=scene.front.totals()["sent"], injected=0, note=note)


RUNS = (
    Run(
        name="power",
        promise="a power cut of Redis loses nothing with appendfsync always, and does with everysec",
        do=power,
    ),
)
