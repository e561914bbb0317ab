"""Processes that die: each kind of them again and again, under mail that does not stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, LiteralString

from bench.faults.run import Run
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene

SETTLES_WITHIN = 400.0
BACK_WITHIN = 60.0
AT_WORK: LiteralString = "SELECT name FROM processes WHERE kind = 'worker' AND seen_at > now() - interval '15 seconds'"


def again_and_again(  # noqa: PLR0913 -- what differs between the kinds, each named at the call
    suite: Suite,
    scene: Scene,
    hurt: Callable[[], int | None],
    *,
    every: float,
    per_second: tuple[int, int] = (30, 40),
    door_dies: bool = False,
) -> Result:
    """Hurt it every so often under mail; each time is counted once it is seen to have happened."""
    with scene.mail(per_second=suite.pick(*per_second)):
        for _ in range(suite.pick(4, 60)):
            time.sleep(every)
            assert wait_until(lambda: bool(hurt()), BACK_WITHIN), "nothing of the kind runs: it was not started again"
            scene.injected += 1
    return scene.judge(within=SETTLES_WITHIN, door_dies=door_dies)


def worker_kill(suite: Suite) -> Result:
    """Workers, whole."""
    with suite.scene("worker_kill", counts={"worker": suite.pick(2, 3)}) as scene:
        return again_and_again(suite, scene, lambda: scene.platform.kill("worker"), every=suite.pick(2.0, 3.0))


def child_kill(suite: Suite) -> Result:
    """Single children of workers that run with Celery's prefork pool.

    Only such as have said that they work: Celery gives up the whole worker when a child does not get that far.
    """
    with suite.scene("child_kill", pool="prefork", WORKER_THREADS=suite.pick("3", "6")) as scene:

        def hurt() -> int | None:
            at_work = {int(name.rpartition(":")[2]) for (name,) in scene.mailroom.rows(AT_WORK)}
            return scene.platform.kill_child("worker", among=at_work)

        return again_and_again(suite, scene, hurt, every=suite.pick(1.5, 2.0), per_second=(30, 10))


def recorder_kill(suite: Suite) -> Result:
    """The one recorder."""
    with suite.scene("recorder_kill") as scene:
        return again_and_again(suite, scene, lambda: scene.platform.kill("recorder"), every=suite.pick(2.0, 3.0))


def sweeper_kill(suite: Suite) -> Result:
    """One of two sweepers."""
    with suite.scene("sweeper_kill", counts={"sweeper": 2}) as scene:
        return again_and_again(suite, scene, lambda: scene.platform.kill("sweeper"), every=suite.pick(1.5, 2.0))


def door_kill(suite: Suite) -> Result:
    """The door: in turns one of its children, and the whole of it."""
    with suite.scene("door_kill") as scene:
        turns = iter([scene.platform.kill_child, scene.platform.kill] * 1000)

        def hurt() -> int | None:
            ready = wait_until(scene.mailroom.is_ready, BACK_WITHIN)
            return next(turns)("web") if ready else None

        return again_and_again(suite, scene, hurt, every=suite.pick(1.5, 2.0), door_dies=True)


RUNS = (
    Run(
        name="worker_kill",
        promise="SIGKILL to workers, again and again: what they ran is run again, nothing twice",
        do=worker_kill,
        in_ci=True,
    ),
    Run(
        name="child_kill",
        promise="SIGKILL to children of prefork workers: the same",
        do=child_kill,
        in_ci=True,
    ),
    Run(
        name="recorder_kill",
        promise="SIGKILL to the recorder: what it was recording is recorded once",
        do=recorder_kill,
    ),
    Run(
        name="sweeper_kill",
        promise="SIGKILL to one of two sweepers: the other takes over",
        do=sweeper_kill,
    ),
    Run(
        name="door_kill",
        promise="SIGKILL to the door and to its children: what was acknowledged is kept, Front sends the rest again",
        do=door_kill,
    ),
)
