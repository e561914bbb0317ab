"""Fairness between tenants: a single event is done at once despite the backlogs of others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.faults.run import Run
from bench.harness.mail import seconds_to_change
from bench.harness.mailroom import add_backlog, drop_backlog
from shared.queue import WORK_QUEUE, QueueDepth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene

#: As slow and as strict as the real Front.
FRONT = ("--requests-per-minute", "120", "--latency-ms", "80")
PROMISED_SECONDS = 2.0
QUIET = 5
PROBES = 20
SETTLES_WITHIN = 120.0
#: Twice the slots of one worker; without a worker as many slots are assumed.
MOST_MESSAGES = 32


def noisy_tenant(suite: Suite) -> Result:
    """Give one tenant a large backlog, which uses its company's whole budget."""
    with suite.scene("noisy_tenant", companies=1 + QUIET, front=FRONT) as scene:
        return _judged(scene, scene.companies[:1], each=suite.pick(2_000, 50_000))


def many_backlogs(suite: Suite) -> Result:
    """Give very many tenants a backlog, more in all than the workers can do."""
    with suite.scene("many_backlogs", companies=suite.pick(100, 999) + QUIET, front=FRONT) as scene:
        return _judged(scene, scene.companies[:-QUIET], each=suite.pick(30, 50))


def away_workers(suite: Suite) -> Result:
    """Let tasks wait without a worker and empty Redis, then start the worker."""
    with suite.scene("away_workers", companies=suite.pick(20, 100)) as scene:
        problems = scene.platform.stop("worker")
        assert not problems, problems
        waiting = add_backlog(scene.mailroom, scene.companies, suite.pick(50, 100))
        longest = _longest_queue(scene, seconds=suite.pick(20, 600))
        with scene.mailroom.redis() as client:
            client.flushall()
        scene.injected += 1
        with scene.mail(per_second=10):
            longest = max(longest, _longest_queue(scene, seconds=5))
        [(sends,)] = scene.mailroom.rows("SELECT max(sends) FROM tasks")
        scene.platform.procfile({"web": 0, "recorder": 0, "sweeper": 0}, pool="threads")
        note = f"{waiting:,} waited; at most {longest} messages in Redis, {sends} for one task; then Redis was emptied"
        broken = [] if longest <= MOST_MESSAGES else [f"{longest} messages waited in Redis"]
        return scene.judge(within=suite.pick(180, 600), note=note, broken=broken)


def _longest_queue(scene: Scene, *, seconds: float) -> int:
    """Return the most messages that were seen to wait for a worker."""
    waiting = QueueDepth(scene.mailroom.redis_url, WORK_QUEUE)
    until, longest = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        longest = max(longest, waiting.count())
        time.sleep(0.1)
    waiting.close()
    return longest


def _judged(scene: Scene, busy: Sequence[str], *, each: int) -> Result:
    quiet = [company for company in scene.companies if company not in busy]
    waiting = add_backlog(scene.mailroom, busy, each)
    scene.injected = len(busy)
    seconds = [seconds_to_change(scene.front, quiet[number % len(quiet)]) for number in range(PROBES)]
    left = drop_backlog(scene.mailroom)
    broken = [] if left else ["the backlog ended before the last probe: this run proves nothing"]
    if (slowest := max(seconds)) > PROMISED_SECONDS:
        broken.append(f"an event took {slowest:.2f} s")
    note = f"{waiting:,} waiting ({left:,} at the end), {PROBES} events took {_spread(seconds)}"
    return scene.judge(within=SETTLES_WITHIN, note=note, broken=broken)


def _spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[0]:.2f} to {ordered[-1]:.2f} s, median {ordered[len(ordered) // 2]:.2f} s"


RUNS = (
    Run(
        name="away_workers",
        promise="10,000 tasks wait without a worker: a few messages in all, and an emptied Redis gets them again",
        do=away_workers,
    ),
    Run(
        name="noisy_tenant",
        promise="one tenant has 50,000 tasks waiting: another's event is done within 2 s",
        do=noisy_tenant,
        in_ci=True,
    ),
    Run(
        name="many_backlogs",
        promise="999 tenants have a backlog: another's event is done within 2 s",
        do=many_backlogs,
    ),
)
