"""Processes that die: each kind of them again and again, under mail that does not stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.faults.run import Run

if TYPE_CHECKING:
    from bench.faults.result import Result
    from bench.faults.run import Suite

SETTLES_WITHIN = 300.0


def kill_again_and_again(suite: Suite, name: str, kind: str, *, counts: dict[str, int], every: float) -> Result:
    """SIGKILL to one process of the kind every so often; the platform starts another."""
    with suite.scene(name, counts=counts) as scene:
        with scene.mail(per_second=suite.pick(30, 40)):
            for _ in range(suite.pick(4, 60)):
                time.sleep(every)
                scene.platform.kill(kind)
                scene.injected += 1
        return scene.judge(within=SETTLES_WITHIN)


RUNS = (
    Run(
        name="worker_kill",
        promise="SIGKILL to a worker, again and again: what it ran is run again, nothing twice",
        do=lambda suite: kill_again_and_again(
            suite, "worker_kill", "worker", counts={"worker": suite.pick(2, 3)}, every=suite.pick(2.0, 3.0)
        ),
    ),
)
