"""Faults at the door: stores that are full, hung or reset, and slow senders."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis
import requests

from bench.faults.run import Run
from bench.faults.scene import PROMPT
from bench.harness.processes import wait_until
from bench.harness.servers import hung
from bench.harness.slow_senders import SLOW_BODY, SLOW_HEADERS, dripping
from bench.harness.webhooks import signed_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene

SETTLES_WITHIN = 300.0
PROMPT_SECONDS = 2.0
BACK_WITHIN = 15.0
RECORDED_WITHIN = 60.0
SENDERS = 256
ANSWERED_WITHIN = 30.0
SLOW = 500


def redis_out_of_memory(suite: Suite) -> Result:
    """Let Redis refuse writes for long: all is recorded meanwhile, and the door returns to Redis by itself."""
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
    """Stop Redis and PostgreSQL with connections open, and send 256 webhooks at once."""
    answers: list[Answer] = []
    with suite.scene("both_stores_hung") as scene:
        with scene.mail(per_second=10):
            for _ in range(suite.pick(1, 5)):
                time.sleep(3)
                with hung(scene.servers.valkey, 0), hung(scene.servers.postgres, suite.pick(5, 15)):
                    answers += [*send_at_once(scene, SENDERS), *send_at_once(scene, SENDERS)]
                scene.injected += 1
        prompt = sum(each.seconds < PROMPT_SECONDS for each in answers) / len(answers)
        broken = _unless(prompt >= PROMPT, f"only {prompt:.2%} were answered within 2 s")
        broken += _unless(all(each.status in {200, 503} for each in answers), "not every answer was 200 or 503")
        scene.acknowledged |= {each.event for each in answers if each.status == 200}
        note = f"{SENDERS} at once: {_describe(answers)}; {prompt:.2%} within 2 s"
        return scene.judge(within=SETTLES_WITHIN, note=note, broken=broken)


def redis_reset(suite: Suite) -> Result:
    """Let Redis close every connection, again and again."""
    with suite.scene("redis_reset") as scene:
        with scene.mail(per_second=suite.pick(30, 40)):
            until = time.monotonic() + suite.pick(10, 120)
            while time.monotonic() < until:
                scene.injected += _reset(scene)
                time.sleep(suite.pick(0.3, 1.0))
        return scene.judge(within=SETTLES_WITHIN, note=_slowest(scene))


def slow_clients(suite: Suite) -> Result:
    """Run 500 senders with slow headers and 500 with slow bodies, which reconnect when the door closes."""
    with suite.scene("slow_clients") as scene:
        with scene.mail(per_second=suite.pick(20, 40)), ExitStack() as stack:
            for beginning in (SLOW_HEADERS, SLOW_BODY):
                stack.enter_context(_reconnecting(scene, beginning))
            time.sleep(suite.pick(14, 60))
        return scene.judge(within=SETTLES_WITHIN, note=_slowest(scene))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one webhook, and the seconds until it came; status 0 is no answer."""

    event: str
    status: int
    seconds: float


def send_at_once(scene: Scene, count: int) -> list[Answer]:
    """Send signed webhooks in the same moment, each on its own connection; Mailroom ignores their type."""

    async def send_all() -> list[Answer]:
        return list(await asyncio.gather(*(_send(scene, number) for number in range(count))))

    return asyncio.run(send_all())


async def _send(scene: Scene, number: int) -> Answer:
    event = f"evt_crowd{time.time_ns()}x{number}"
    envelope = {"type": "a_crowd", "authorization": {"id": scene.companies[0]}, "payload": {"id": event}}
    key = scene.mailroom.environment["FRONT_SIGNING_KEYS"].encode()
    request = signed_request(key, json.dumps(envelope).encode(), "Connection: close")
    began = time.monotonic()
    try:
        async with asyncio.timeout(ANSWERED_WITHIN):
            status = await _status(scene.mailroom.port, request)
    except (OSError, TimeoutError, ValueError):
        status = 0
    return Answer(event=event, status=status, seconds=time.monotonic() - began)


async def _status(port: int, request: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return int((await reader.readline()).split(b" ")[1])
    except IndexError:
        return 0
    finally:
        writer.close()


def _describe(answers: Sequence[Answer]) -> str:
    counts = Counter(each.status for each in answers)
    statuses = ", ".join(f"{count} × {status}" for status, count in sorted(counts.items()))
    return f"{statuses}; slowest {max(each.seconds for each in answers):.2f} s"


@contextmanager
def _reconnecting(scene: Scene, beginning: bytes) -> Iterator[None]:
    """Keep slow senders connected: the door closes each connection after ten seconds."""
    stop = threading.Event()

    def connect() -> None:
        while not stop.is_set():
            with dripping(scene.mailroom.port, SLOW, beginning) as slow:
                scene.injected += slow.open
                while slow.open > SLOW // 2 and not stop.wait(0.2):
                    pass

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _full(scene: Scene) -> Iterator[None]:
    """Let Redis refuse every write that needs memory; reads and deletes go on."""
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


def _store(scene: Scene, name: str) -> str:
    answer = requests.get(f"http://127.0.0.1:{scene.mailroom.port}/readyz", timeout=10).json()
    return str(answer["checks"].get(name))


def _spooled(scene: Scene) -> int:
    ((count,),) = scene.mailroom.rows("SELECT count(*) FROM spooled_deliveries")
    return int(count)


def _slowest(scene: Scene) -> str:
    """Describe the slowest answer, and which of our processes ended."""
    slowest = max((each["seconds"] for each in scene.front.tries()), default=0.0)
    return f"slowest answer {slowest:.2f} s; {scene.ended()}"


def _unless(kept: bool, promise: str) -> list[str]:
    return [] if kept else [promise]


RUNS = (
    Run(
        name="redis_out_of_memory",
        promise="a full Redis: PostgreSQL takes and drains deliveries meanwhile, the door returns by itself",
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
        promise="500 senders with slow headers and 500 with slow bodies: no other sender waits",
        do=slow_clients,
    ),
)
