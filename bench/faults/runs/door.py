"""What hurts the door: stores that are full, hung or reset, and senders that drip."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import redis
import requests

from bench.faults.run import Run
from bench.faults.scene import PROMPT
from bench.harness.crowd import Crowd, told
from bench.harness.processes import wait_until
from bench.harness.servers import hung
from bench.harness.slow_senders import SLOW_BODY, SLOW_HEADERS, dripping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene
    from bench.harness.crowd import Reception

SETTLES_WITHIN = 300.0
PROMPT_SECONDS = 2.0
BACK_WITHIN = 15.0
RECORDED_WITHIN = 60.0
CROWD = 256
SLOW = 500


def redis_out_of_memory(suite: Suite) -> Result:
    """A Redis that refuses writes for long: all is recorded while it does, and the door goes back to it by itself."""
    broken: list[str] = []
    with suite.scene("redis_out_of_memory") as scene:
        with _full(scene):
            with scene.mail(per_second=suite.pick(20, 40)):
                time.sleep(suite.pick(10, 60))
            scene.injected += 1
            broken += _unless(_store(scene, "intake") == "away", "the door did not notice that Redis was full")
            broken += _unless(
                wait_until(lambda: _spooled(scene) == 0, RECORDED_WITHIN, every=0.5),
                f"{_spooled(scene)} deliveries were still spooled, with Redis full",
            )
        back = wait_until(lambda: _store(scene, "intake") == "writable", BACK_WITHIN, every=0.5)
        broken += _unless(back, f"the door was not back at Redis after {BACK_WITHIN:g} s")
        return scene.judge(within=SETTLES_WITHIN, note=_slowest(scene), broken=broken)


def both_stores_hung(suite: Suite) -> Result:
    """Redis and PostgreSQL stopped with connections open, and 256 webhooks at once."""
    crowds: list[list[Reception]] = []
    with suite.scene("both_stores_hung") as scene:
        with scene.mail(per_second=10):
            for _ in range(suite.pick(1, 5)):
                time.sleep(3)
                with hung(scene.servers.valkey, 0), hung(scene.servers.postgres, suite.pick(5, 15)):
                    crowds += [_crowd(scene).arrive(CROWD), _crowd(scene).arrive(CROWD)]
                scene.injected += 1
        everybody = [each for crowd in crowds for each in crowd]
        prompt = sum(each.seconds < PROMPT_SECONDS for each in everybody) / len(everybody)
        broken = _unless(prompt >= PROMPT, f"only {prompt:.2%} of the crowd heard within 2 s")
        broken += _unless(all(each.status in {200, 503} for each in everybody), "not everybody was told 200 or 503")
        scene.acknowledged |= {each.event for each in everybody if each.status == 200}
        note = f"crowds of {CROWD}: {told(everybody)}; {prompt:.2%} within 2 s"
        return scene.judge(within=SETTLES_WITHIN, note=note, broken=broken)


def redis_reset(suite: Suite) -> Result:
    """Redis closes every connection again and again."""
    with suite.scene("redis_reset") as scene:
        with scene.mail(per_second=suite.pick(30, 40)):
            until = time.monotonic() + suite.pick(10, 120)
            while time.monotonic() < until:
                scene.injected += _reset(scene)
                time.sleep(suite.pick(0.3, 1.0))
        return scene.judge(within=SETTLES_WITHIN, note=_slowest(scene))


def slow_clients(suite: Suite) -> Result:
    """500 that drip headers, and 500 that drip bodies; those that were sent away come again."""
    with suite.scene("slow_clients") as scene:
        with scene.mail(per_second=suite.pick(20, 40)), ExitStack() as stack:
            for beginning in (SLOW_HEADERS, SLOW_BODY):
                stack.enter_context(_coming_again(scene, beginning))
            time.sleep(suite.pick(14, 60))
        return scene.judge(within=SETTLES_WITHIN, note=_slowest(scene))


@contextmanager
def _coming_again(scene: Scene, beginning: bytes) -> Iterator[None]:
    """Keep so many slow senders there: the door sends each away after ten seconds."""
    stop = threading.Event()

    def come() -> None:
        while not stop.is_set():
            with dripping(scene.mailroom.port, SLOW, beginning) as slow:
                scene.injected += slow.open
                while slow.open > SLOW // 2 and not stop.wait(0.2):
                    pass

    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _full(scene: Scene) -> Iterator[None]:
    """Let Redis refuse every write that needs memory; reading and deleting go on."""
    with scene.servers.redis() as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


def _reset(scene: Scene) -> int:
    try:
        with scene.servers.redis() as client:
            return int(client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
    except redis.RedisError:
        return 0


def _crowd(scene: Scene) -> Crowd:
    key = scene.mailroom.environment["FRONT_SIGNING_KEYS"]
    return Crowd(port=scene.mailroom.port, signing_key=key, company=scene.companies[0])


def _store(scene: Scene, name: str) -> str:
    answer = requests.get(f"http://127.0.0.1:{scene.mailroom.port}/readyz", timeout=10).json()
    return str(answer["checks"].get(name))


def _spooled(scene: Scene) -> int:
    ((count,),) = scene.mailroom.rows("SELECT count(*) FROM spooled_deliveries")
    return int(count)


def _slowest(scene: Scene) -> str:
    """The slowest answer, and which of our processes ended."""
    slowest = max((each["seconds"] for each in scene.front.tries()), default=0.0)
    return f"slowest answer {slowest:.2f} s; {scene.ended()}"


def _unless(kept: bool, promise: str) -> list[str]:
    return [] if kept else [promise]


RUNS = (
    Run(
        name="redis_out_of_memory",
        promise="a full Redis: PostgreSQL takes and drains deliveries meanwhile, the door goes back by itself",
        do=redis_out_of_memory,
    ),
    Run(
        name="both_stores_hung",
        promise="both stores stopped, 256 connections at once: every answer within 2 s, nothing acknowledged is lost",
        do=both_stores_hung,
    ),
    Run(name="redis_reset", promise="Redis connections reset again and again: nothing is lost", do=redis_reset),
    Run(
        name="slow_clients",
        promise="500 senders drip headers and 500 bodies: nobody else waits",
        do=slow_clients,
    ),
)
