"""Processes that end politely, that hear nothing any more, or that start before their servers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.faults.run import Run
from bench.harness.mailroom import expect

if TYPE_CHECKING:
    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene

SETTLES_WITHIN = 240.0
KINDS = ("web", "recorder", "worker", "sweeper")
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
#: Beside the seconds that a deaf process is given: to start, to be deaf, to stop.
GIVES_UP_WITHIN = 90.0
LATE_SECONDS = 10.0


def rolling_restart(suite: Suite) -> Result:
    """TERM to one worker after the other, as a deployment does, while mail keeps coming."""
    with suite.scene("rolling_restart", counts={"worker": 3}) as scene:
        stops = []
        with scene.mail(per_second=30):
            for _ in range(suite.pick(4, 20)):
                stops.append(scene.platform.restart("worker"))
                scene.injected += 1
                time.sleep(suite.pick(0.5, 2.0))
        return scene.judge(within=SETTLES_WITHIN, note=f"the longest stop took {max(stops):.1f} s")


def deaf_worker(suite: Suite) -> Result:
    """A worker and a recorder whose consumers stop, as after a broken reconnect, while all else of them looks well."""
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
        note = f"each gave up after {seconds} s of messages that it did not take"
        return scene.judge(within=SETTLES_WITHIN, note=note)


def late_servers(suite: Suite) -> Result:
    """Every process starts while there is neither Redis nor PostgreSQL; they come later."""
    with suite.scene("late_servers") as scene:
        servers = (scene.servers.valkey, scene.servers.postgres)
        for server in servers:
            server.kill()
        for kind in KINDS:
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
    more = {kind: scene.platform.restarts[kind] - before.get(kind, 0) - 1 for kind in KINDS}
    return ", ".join(f"{count} × {kind}" for kind, count in more.items() if count > 0)


RUNS = (
    Run(
        name="rolling_restart",
        promise="TERM to all workers, one after the other, again and again: nothing is lost, every stop is clean",
        do=rolling_restart,
    ),
    Run(
        name="deaf_worker",
        promise="a worker or recorder that lives and takes nothing from its queue ends itself and is started again",
        do=deaf_worker,
    ),
    Run(
        name="late_servers",
        promise="processes that start before Redis and PostgreSQL do their work when those come",
        do=late_servers,
    ),
)
