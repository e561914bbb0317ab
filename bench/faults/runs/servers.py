"""Servers that die, hang or forget, under mail that does not stop."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import redis

from bench.faults.run import Run
from bench.harness.servers import hung
from shared.intake.client import STREAM

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene
    from console.up.embedded import Server

SETTLES_WITHIN = 400.0


def again_and_again(suite: Suite, name: str, hurt: Callable[[Scene], None], *, times: tuple[int, int]) -> Result:
    """Hurt a server `times` (short, full) under mail, with three seconds of peace between."""
    with suite.scene(name) as scene:
        with scene.mail(per_second=suite.pick(30, 40)):
            for _ in range(suite.pick(*times)):
                time.sleep(3)
                hurt(scene)
                scene.injected += 1
        return scene.judge(within=SETTLES_WITHIN, note=scene.ended())


def kill(server: Server, away: float) -> None:
    """SIGKILL, some time away, then the same data again: PostgreSQL recovers as after an immediate stop."""
    server.kill()
    assert not server.running
    time.sleep(away)
    server.start()


def redis_kill(suite: Suite) -> Result:
    """Redis gone for two seconds."""
    return again_and_again(suite, "redis_kill", lambda scene: kill(scene.servers.valkey, 2), times=(3, 20))


def redis_hung(suite: Suite) -> Result:
    """Redis stopped with its connections open."""

    def hang(scene: Scene) -> None:
        with hung(scene.servers.valkey, suite.pick(3, 10)):
            assert not _answers(scene)

    return again_and_again(suite, "redis_hung", hang, times=(2, 10))


def redis_wiped(suite: Suite) -> Result:
    """FLUSHALL in the middle: only what was in the intake may be lost, and it is listed in the same moment."""
    at_risk: set[str] = set()
    with suite.scene("redis_wiped") as scene:
        with scene.mail(per_second=suite.pick(30, 40)):
            for _ in range(suite.pick(3, 40)):
                time.sleep(suite.pick(2, 3))
                at_risk |= _wipe(scene)
                scene.injected += 1
        return scene.judge(within=SETTLES_WITHIN, at_risk=at_risk)


def _wipe(scene: Scene) -> set[str]:
    """Forget everything; the events whose deliveries stood in the intake in that moment."""
    with scene.servers.redis() as client:
        entries, _ = client.pipeline(transaction=True).xrange(STREAM).flushall().execute()
    return {json.loads(fields[b"body"])["payload"]["id"] for _, fields in entries}


def postgres_kill(suite: Suite) -> Result:
    """PostgreSQL stopped at once, as by `pg_ctl -m immediate`, for two seconds."""
    return again_and_again(suite, "postgres_kill", lambda scene: kill(scene.servers.postgres, 2), times=(3, 20))


def postgres_hung(suite: Suite) -> Result:
    """PostgreSQL stopped with its connections open."""

    def hang(scene: Scene) -> None:
        with hung(scene.servers.postgres, suite.pick(4, 15)):
            pass

    return again_and_again(suite, "postgres_hung", hang, times=(2, 10))


def postgres_exhausted(suite: Suite) -> Result:
    """Every connection that PostgreSQL has to give is taken by somebody else, and those of the workers are ended."""

    def exhaust(scene: Scene) -> None:
        with ExitStack() as stack:
            taken = _take_all(stack, scene.mailroom.database_url)
            _end_others(taken[0])
            taken += _take_all(stack, scene.mailroom.database_url)
            time.sleep(suite.pick(5, 20))

    return again_and_again(suite, "postgres_exhausted", exhaust, times=(1, 6))


def _take_all(stack: ExitStack, url: str) -> list[psycopg.Connection]:
    taken: list[psycopg.Connection] = []
    while True:
        try:
            taken.append(stack.enter_context(psycopg.connect(url, autocommit=True, application_name="greedy")))
        except psycopg.OperationalError:
            return taken


def _end_others(conn: psycopg.Connection) -> None:
    conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND application_name <> 'greedy'"
    )


def _answers(scene: Scene) -> bool:
    try:
        with scene.servers.redis() as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


RUNS = (
    Run(
        name="redis_kill",
        promise="SIGKILL to Redis: the door turns to PostgreSQL, workers go on when Redis is back",
        do=redis_kill,
    ),
    Run(name="redis_hung", promise="Redis stopped with connections open: the same", do=redis_hung, in_ci=True),
    Run(
        name="redis_wiped",
        promise="FLUSHALL: what was recorded finishes; only what was in the intake may be gone, and is counted",
        do=redis_wiped,
        in_ci=True,
    ),
    Run(
        name="postgres_kill",
        promise="immediate stop of PostgreSQL: the door is unaffected, workers wait, no attempt is counted",
        do=postgres_kill,
    ),
    Run(
        name="postgres_hung", promise="PostgreSQL stopped with connections open: the same", do=postgres_hung, in_ci=True
    ),
    Run(
        name="postgres_exhausted",
        promise="no connection of PostgreSQL left: the door is unaffected, workers come back",
        do=postgres_exhausted,
        in_ci=True,
    ),
)
