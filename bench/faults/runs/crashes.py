"""Processes that die or freeze at the worst points there are: between two steps that belong together."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import psutil

from bench.faults.run import Run
from bench.harness.mailroom import expect
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene

SETTLES_WITHIN = 400.0
REACHED_WITHIN = 60.0
ATTEMPT = ("claimed_before_run", "half_stored", "stored_before_settle", "intent_before_patch", "patched_before_confirm")
#: Each kind of process and where it dies. The last is reached when the leases of those killed before run out.
POINTS = (
    *(("worker", point) for point in ATTEMPT),
    ("recorder", "marked_before_record"),
    ("recorder", "recorded_before_dispatch"),
    ("recorder", "recorded_before_delete"),
    ("web", "received_before_keep"),
    ("web", "kept_before_answer"),
    ("web", "kept_before_ring"),
    ("sweeper", "queued_before_send"),
    ("sweeper", "taken_back_before_dispatch"),
)
FROZEN = (
    "exec celery -q -A workers.app worker -Q work -n {point}@%h -P threads --concurrency 1 "
    "--without-gossip --without-mingle --without-heartbeat"
)
#: Beyond the lease: the sweeper must have noticed, and another worker have done the work.
BEYOND_LEASE = 15.0


def failpoints(suite: Suite) -> Result:
    """Every kind of process dies at each of its points, under mail."""
    broken = []
    with suite.scene("failpoints", counts={"worker": 2, "recorder": 2}, WEB_CONCURRENCY="1") as scene:
        with scene.mail(per_second=10, files_each=2):
            for kind, point in POINTS * suite.pick(1, 5):
                if not dies_at(scene, kind, point):
                    broken.append(f"the {kind} never got to {point}")
        return scene.judge(within=SETTLES_WITHIN, broken=broken, note=f"{len(POINTS)} points", door_dies=True)


def dies_at(scene: Scene, kind: str, point: str) -> bool:
    """Whether it was seen to die there; afterwards it is started without."""
    fired = f"failpoint {point}: kill"
    before = scene.platform.printed(kind, fired)
    scene.platform.crash_at(kind, point)
    died = wait_until(lambda: scene.platform.printed(kind, fired) > before, REACHED_WITHIN)
    scene.platform.crash_at(kind, "")
    scene.injected += died
    return died


def frozen(suite: Suite) -> Result:
    """A worker at each point of an attempt stops itself, wakes when its lease is over, and goes on."""
    lease = suite.pick(20.0, 120.0)
    with suite.scene("frozen") as scene:
        with scene.mail(per_second=10, files_each=2):
            for point in ATTEMPT:
                command = ["/bin/sh", "-c", FROZEN.format(point=point)]
                scene.platform.run(point, command, MAILROOM_CRASH_AT=f"{point}:stop")
            sleepers = [psutil.Process(scene.platform.pids(point)[0]) for point in ATTEMPT]
            for point, process in zip(ATTEMPT, sleepers, strict=True):
                expect(lambda: process.status() == psutil.STATUS_STOPPED, REACHED_WITHIN, f"a worker freezes: {point}")  # noqa: B023 -- called here
        time.sleep(lease + BEYOND_LEASE)
        for process in sleepers:
            process.send_signal(signal.SIGCONT)
            scene.injected += 1
        fenced = wait_until(lambda: all(scene.platform.printed(point, "fenced") for point in ATTEMPT), REACHED_WITHIN)
        broken = [] if fenced else ["a worker that woke after its lease did not find that out"]
        return scene.judge(within=SETTLES_WITHIN, broken=broken, note=f"{lease:g} s lease")


RUNS = (
    Run(
        name="failpoints",
        promise="SIGKILL between any two steps that belong together, in every process: done once",
        do=failpoints,
    ),
    Run(
        name="frozen",
        promise="SIGSTOP beyond the lease at each point of an attempt: who wakes writes nothing",
        do=frozen,
    ),
)
