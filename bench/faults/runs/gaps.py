"""Webhooks that Front never sent: found on its own list, and worked through like those that came."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.faults.run import Run
from bench.harness.mail import desk
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene

ROOT = Path(__file__).parents[3]
DROPPED = 0.3
#: Emitted long enough ago to be missed, and after the tenants connected.
MINUTES_AGO = 30.0
SETTLES_WITHIN = 120.0


def gap(suite: Suite) -> Result:
    """A share of all webhooks is never sent; then somebody asks for a repair, while other mail keeps coming."""
    with suite.scene("gap", REPAIR_MINUTES="0") as scene:
        scene.mailroom.rows("UPDATE tenants SET connected_at = now() - interval '1 hour' RETURNING id")
        for company in scene.companies:
            _mail(scene, company, suite.pick(100, 2_000))
        missing = int(scene.front.verdict()["unserved"])
        scene.injected = missing
        began = time.monotonic()
        with scene.mail(per_second=10):
            repairs = _repair(scene)
        seconds = time.monotonic() - began
        fed = sum(repair["fed"] for repair in repairs)
        note = f"{missing:,} webhooks never sent, {fed:,} found and fed in {seconds:.0f} s beside other mail"
        broken = [] if fed == missing else [f"{fed:,} of {missing:,} missing events were fed"]
        wait_until(lambda: not scene.mailroom.unsettled(), SETTLES_WITHIN, every=0.5)
        if unserved := scene.front.verdict()["unserved"]:
            broken.append(f"nothing came of {unserved:,} events")
        return scene.judge(within=SETTLES_WITHIN, note=note, broken=broken)


def _mail(scene: Scene, company: str, count: int) -> None:
    to = [{"handle": desk(company), "role": "to"}]
    order = {"count": count, "dropped": DROPPED, "emitted_at": time.time() - 60 * MINUTES_AGO}
    scene.front.send("inbound_received", company, recipients=to, expect="archived", **order)


def _repair(scene: Scene) -> list[dict[str, Any]]:
    """What the command says that every tenant's repair came to."""
    command = [sys.executable, "-m", "console", "repair", "--since", "2h", "--yes", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=scene.mailroom.environment, capture_output=True, text=True, timeout=3_600, check=False
    )
    assert done.returncode == 0, done.stderr
    repairs: list[dict[str, Any]] = json.loads(done.stdout)["repairs"]
    return repairs


RUNS = (
    Run(
        name="gap",
        promise="30 % of the webhooks are never sent: a repair finds every one, and each is done once",
        do=gap,
    ),
)
