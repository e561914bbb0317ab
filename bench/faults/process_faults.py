"""Faults of processes: killed again and again, crashed or frozen at failpoints, restarted, deaf, started too early."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, LiteralString

import psutil

from bench.faults.run import Run
from bench.harness.processes import expect, wait_until
from bench.harness.usage import OUR_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene

SETTLES_WITHIN = 400.0
BACK_WITHIN = 60.0
WORKING: LiteralString = "SELECT name FROM processes WHERE kind = 'worker' AND seen_at > now() - interval '15 seconds'"

REACHED_WITHIN = 60.0
ATTEMPT = ("claimed_before_run", "half_stored", "stored_before_settle", "intent_before_patch", "patched_before_confirm")
#: Each kind of process and its failpoint. The last is reached when leases of earlier kills expire.
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
#: Beyond the lease, so that the sweeper notices and another worker does the work.
BEYOND_LEASE = 15.0
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
#: In addition to the deaf seconds: to start, to become deaf and to stop.
GIVES_UP_WITHIN = 90.0
LATE_SECONDS = 10.0


def _repeat(  # noqa: PLR0913 -- the differences between the kinds, each named at the call
    suite: Suite,
    scene: Scene,
    inject: Callable[[], int | None],
    *,
    every: float,
    per_second: tuple[int, int] = (30, 40),
    door_dies: bool = False,
) -> Result:
    """Inject a fault repeatedly under mail; count each one that took place."""
    with scene.mail(per_second=suite.pick(*per_second)):
        for _ in range(suite.pick(4, 60)):
            time.sleep(every)
            assert wait_until(lambda: bool(inject()), BACK_WITHIN), "nothing of the kind runs: it was not started again"
            scene.injected += 1
    return scene.judge(within=SETTLES_WITHIN, door_dies=door_dies)


def worker_kill(suite: Suite) -> Result:
    """Kill whole workers."""
    with suite.scene("worker_kill", counts={"worker": suite.pick(2, 3)}) as scene:
        return _repeat(suite, scene, lambda: scene.platform.kill("worker"), every=suite.pick(2.0, 3.0))


def child_kill(suite: Suite) -> Result:
    """Kill single children of workers with Celery's prefork pool.

    Only children with a heartbeat: Celery gives up the whole worker when a child dies before.
    """
    with suite.scene("child_kill", pool="prefork", WORKER_THREADS=suite.pick("3", "6")) as scene:

        def inject() -> int | None:
            working = {int(name.rpartition(":")[2].partition("-")[0]) for (name,) in scene.mailroom.rows(WORKING)}
            return scene.platform.kill_child("worker", among=working)

        return _repeat(suite, scene, inject, every=suite.pick(1.5, 2.0), per_second=(30, 10))


def recorder_kill(suite: Suite) -> Result:
    """Kill the one recorder."""
    with suite.scene("recorder_kill") as scene:
        return _repeat(suite, scene, lambda: scene.platform.kill("recorder"), every=suite.pick(2.0, 3.0))


def sweeper_kill(suite: Suite) -> Result:
    """Kill one of two sweepers."""
    with suite.scene("sweeper_kill", counts={"sweeper": 2}) as scene:
        return _repeat(suite, scene, lambda: scene.platform.kill("sweeper"), every=suite.pick(1.5, 2.0))


def door_kill(suite: Suite) -> Result:
    """Kill a child of the door and the whole door, in turns."""
    with suite.scene("door_kill") as scene:
        turns = iter([scene.platform.kill_child, scene.platform.kill] * 1000)

        def inject() -> int | None:
            ready = wait_until(scene.mailroom.is_ready, BACK_WITHIN)
            return next(turns)("web") if ready else None

        return _repeat(suite, scene, inject, every=suite.pick(1.5, 2.0), door_dies=True)


def failpoints(suite: Suite) -> Result:
    """Kill every kind of process at each of its failpoints, under mail."""
    broken = []
    # One recorder: a second one would have the role, and listen, for as long as mail comes.
    with suite.scene("failpoints", counts={"worker": 2}, WEB_CONCURRENCY="1") as scene:
        with scene.mail(per_second=10, files_each=2):
            for kind, point in POINTS * suite.pick(1, 5):
                if not _dies_at(scene, kind, point):
                    broken.append(f"the {kind} never got to {point}")
        return scene.judge(within=SETTLES_WITHIN, broken=broken, note=f"{len(POINTS)} points", door_dies=True)


def _dies_at(scene: Scene, kind: str, point: str) -> bool:
    """Tell whether it was seen to die there; then start it without the failpoint."""
    fired = f"failpoint {point}: kill"
    before = scene.platform.printed(kind, fired)
    scene.platform.crash_at(kind, point)
    died = wait_until(lambda: scene.platform.printed(kind, fired) > before, REACHED_WITHIN)
    scene.platform.crash_at(kind, "")
    scene.injected += died
    return died


def frozen(suite: Suite) -> Result:
    """Freeze a worker at each point of an attempt, and wake it after its lease."""
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


def rolling_restart(suite: Suite) -> Result:
    """Restart one worker after the other with TERM, as a deployment does, under mail."""
    with suite.scene("rolling_restart", counts={"worker": 3}) as scene:
        stops = []
        with scene.mail(per_second=30):
            for _ in range(suite.pick(4, 20)):
                stops.append(scene.platform.restart("worker"))
                scene.injected += 1
                time.sleep(suite.pick(0.5, 2.0))
        return scene.judge(within=SETTLES_WITHIN, note=f"the longest stop took {max(stops):.1f} s")


def deaf_worker(suite: Suite) -> Result:
    """Stop the consumers of a worker and a recorder, as after a broken reconnect, while the processes live."""
    seconds = suite.pick(3, 60)
    with suite.scene("deaf_worker") as scene:
        with scene.mail(per_second=20):
            for kind, queue, slots in (("worker", "work", 16), ("recorder", "record", 1)):
                problems = scene.platform.stop(kind)
                assert not problems, problems
                _run_deaf(scene, kind, queue, slots, seconds)
            for kind in ("worker", "recorder"):
                _await_restart(scene, kind, seconds + GIVES_UP_WITHIN)
                scene.injected += 1
        note = f"each gave up after {seconds} s of messages that it did not consume"
        return scene.judge(within=SETTLES_WITHIN, note=note)


def late_servers(suite: Suite) -> Result:
    """Start every process while Redis and PostgreSQL are down, and the servers later."""
    with suite.scene("late_servers") as scene:
        servers = (scene.servers.valkey, scene.servers.postgres)
        for server in servers:
            server.kill()
        for kind in OUR_KINDS:
            assert scene.platform.kill(kind), f"no {kind} ran"
            scene.injected += 1
        before = scene.platform.restarts.copy()
        time.sleep(suite.pick(LATE_SECONDS, 6 * LATE_SECONDS))
        for server in reversed(servers):
            server.start()
        with scene.mail(per_second=10):
            time.sleep(5)
        note = f"ended meanwhile and started again: {_since(scene, before) or 'none'}"
        return scene.judge(within=SETTLES_WITHIN, note=note)


def _run_deaf(scene: Scene, kind: str, queue: str, slots: int, seconds: float) -> None:
    words = ("-q", "-A", "bench.harness.deaf_worker", "worker", "-Q", queue, "-n", f"{kind}@%h", "-P", "threads")
    scene.platform.run(
        kind,
        ["celery", *words, "--concurrency", str(slots), *QUIET],
        DEAF_HOW="cancel",
        DEAF_MARK=str(scene.mailroom.folder / f"deaf-{kind}"),
        DEAF_SECONDS=str(seconds),
    )


def _await_restart(scene: Scene, kind: str, seconds: float) -> None:
    expect(
        lambda: scene.platform.restarts[kind] and scene.platform.printed(kind, "worker_gives_up"),
        seconds,
        f"the deaf {kind} gave up and was started again",
    )


def _since(scene: Scene, before: dict[str, int]) -> str:
    more = {kind: scene.platform.restarts[kind] - before.get(kind, 0) - 1 for kind in OUR_KINDS}
    return ", ".join(f"{count} × {kind}" for kind, count in more.items() if count > 0)


RUNS = (
    Run(
        name="worker_kill",
        promise="SIGKILL to workers, again and again: their tasks run again, nothing is done twice",
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
        promise="SIGKILL to the recorder: every event is recorded once",
        do=recorder_kill,
    ),
    Run(
        name="sweeper_kill",
        promise="SIGKILL to one of two sweepers: the other takes over",
        do=sweeper_kill,
    ),
    Run(
        name="door_kill",
        promise="SIGKILL to the door and to its children: acknowledged webhooks are kept, Front resends the others",
        do=door_kill,
    ),
    Run(
        name="failpoints",
        promise="SIGKILL between any two dependent steps, in every process: everything is done once",
        do=failpoints,
    ),
    Run(
        name="frozen",
        promise="SIGSTOP beyond the lease at each point of an attempt: a worker that wakes writes nothing",
        do=frozen,
    ),
    Run(
        name="rolling_restart",
        promise="TERM to all workers, one after the other, again and again: nothing is lost, every stop is clean",
        do=rolling_restart,
    ),
    Run(
        name="deaf_worker",
        promise="a worker or recorder that consumes nothing from its queue ends itself and is started again",
        do=deaf_worker,
    ),
    Run(
        name="late_servers",
        promise="processes that start before Redis and PostgreSQL do their work once these are up",
        do=late_servers,
    ),
)
