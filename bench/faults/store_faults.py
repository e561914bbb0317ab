"""Faults of the stores: Redis and PostgreSQL die, hang or forget, and the disk for files is full."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import psutil
import psycopg
import redis

from bench.faults.run import Run
from bench.harness.processes import expect, wait_until
from bench.harness.servers import hung
from shared.intake.streams import STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene
    from console.up.embedded import Server

SETTLES_WITHIN = 400.0
FILE_BYTES = 400_000
SMALL = "6m"


def _repeat(suite: Suite, name: str, inject: Callable[[Scene], None], *, times: tuple[int, int]) -> Result:
    """Inject a fault `times` (short, full) under mail, with three seconds between."""
    with suite.scene(name) as scene:
        with scene.mail(per_second=suite.pick(30, 40)):
            for _ in range(suite.pick(*times)):
                time.sleep(3)
                inject(scene)
                scene.injected += 1
        return scene.judge(within=SETTLES_WITHIN, note=scene.ended())


def _kill(server: Server, away: float) -> None:
    """SIGKILL a server, and start it with the same data after a time; PostgreSQL recovers as from a crash."""
    server.kill()
    assert not server.running
    time.sleep(away)
    server.start()


def redis_kill(suite: Suite) -> Result:
    """Kill Redis for two seconds."""
    return _repeat(suite, "redis_kill", lambda scene: _kill(scene.servers.valkey, 2), times=(3, 20))


def redis_hung(suite: Suite) -> Result:
    """Stop Redis with its connections open."""

    def hang(scene: Scene) -> None:
        with hung(scene.servers.valkey, suite.pick(3, 10)):
            assert not _answers(scene)

    return _repeat(suite, "redis_hung", hang, times=(2, 10))


def redis_wiped(suite: Suite) -> Result:
    """FLUSHALL under mail: only deliveries in the intake may be lost, and they are listed in the same moment."""
    at_risk: set[str] = set()
    with suite.scene("redis_wiped") as scene:
        with scene.mail(per_second=suite.pick(30, 40)):
            for _ in range(suite.pick(3, 40)):
                time.sleep(suite.pick(2, 3))
                at_risk |= _wipe(scene)
                scene.injected += 1
        return scene.judge(within=SETTLES_WITHIN, at_risk=at_risk)


def _wipe(scene: Scene) -> set[str]:
    """Delete everything; return the events whose deliveries were in the intake in that moment."""
    with scene.servers.redis() as client:
        entries, _ = client.pipeline(transaction=True).xrange(STREAM).flushall().execute()
    return {json.loads(fields[b"body"])["payload"]["id"] for _, fields in entries}


def postgres_kill(suite: Suite) -> Result:
    """Stop PostgreSQL as by `pg_ctl -m immediate` for two seconds."""
    return _repeat(suite, "postgres_kill", lambda scene: _kill(scene.servers.postgres, 2), times=(3, 20))


def postgres_hung(suite: Suite) -> Result:
    """Stop PostgreSQL with its connections open."""

    def hang(scene: Scene) -> None:
        with hung(scene.servers.postgres, suite.pick(4, 15)):
            pass

    return _repeat(suite, "postgres_hung", hang, times=(2, 10))


def postgres_exhausted(suite: Suite) -> Result:
    """Take every connection of PostgreSQL, and end those of the workers."""

    def exhaust(scene: Scene) -> None:
        with ExitStack() as stack:
            taken = _take_all(stack, scene.mailroom.database_url)
            _end_others(taken[0])
            taken += _take_all(stack, scene.mailroom.database_url)
            time.sleep(suite.pick(5, 20))

    return _repeat(suite, "postgres_exhausted", exhaust, times=(1, 6))


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


def disk_full(suite: Suite) -> Result:
    """Use a small file system where one can be mounted, else a limit on the size of the workers' files."""
    folder = suite.folder / "disk"
    with _small_disk(folder) as is_mounted, suite.scene("disk_full", STORAGE_URL=f"file://{folder}/files") as scene:
        make_room = partial(_resize, folder, "1g") if is_mounted else _limited(scene)
        with scene.mail(per_second=15, files_each=2, attachments=[]):
            with scene.mail(per_second=10, attachments=[{"size": FILE_BYTES}]):
                expect(lambda: bool(_outage(scene)), 60, "the disk is known to be full")
                scene.injected += 1
                time.sleep(suite.pick(8, 300))
            [(code, since)] = _outage(scene)
            broken = [] if code == "storage_full" else [f"the outage is called {code}"]
            idle = scene.mailroom.rows("SELECT count(*) FROM actions WHERE settled_at > %s", since)
            broken += [] if idle[0][0] else ["nothing else went on"]
            make_room()
        wait_until(lambda: not scene.mailroom.unsettled(), SETTLES_WITHIN, every=0.5)
        broken += _left_behind(scene, folder / "files") + _charged(scene)
        how = "a small file system" if is_mounted else "a limit on the size of files"
        note = f"{how}; {idle[0][0]} actions while it was full"
        return scene.judge(within=SETTLES_WITHIN, note=note, broken=broken)


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """Mount a file system of a few MB at `folder`; yield False where that is not allowed."""
    folder.mkdir()
    mounted = _quietly("mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            _quietly("umount", "--lazy", str(folder))


def _resize(folder: Path, size: str) -> None:
    assert _quietly("mount", "-o", f"remount,size={size}", str(folder)), "the file system could not be made larger"


def _limited(scene: Scene) -> Callable[[], None]:
    """Limit the size of the workers' files; return a function that lifts the limit."""
    workers = [psutil.Process(pid) for pid in scene.platform.pids("worker")]
    before = [worker.rlimit(psutil.RLIMIT_FSIZE) for worker in workers]

    def limit(number: int) -> None:
        for worker, (_, hard) in zip(workers, before, strict=True):
            worker.rlimit(psutil.RLIMIT_FSIZE, (number, hard))

    limit(FILE_BYTES // 2)
    return partial(limit, before[0][0])


def _quietly(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        return False


def _outage(scene: Scene) -> list[tuple[str, object]]:
    return [(code, since) for code, since in scene.mailroom.rows("SELECT code, since FROM outages")]


def _left_behind(scene: Scene, files: Path) -> list[str]:
    """Compare the files with their rows: path and size."""
    there = {str(path.relative_to(files)): path.stat().st_size for path in files.rglob("*") if path.is_file()}
    known = dict(scene.mailroom.rows("SELECT path, size FROM attachments WHERE state = 'stored'"))
    wrong = [path for path in there | known if there.get(path) != known.get(path)]
    return [f"{len(wrong)} files are not what their rows say, as {wrong[0]}"] if wrong else []


def _charged(scene: Scene) -> list[str]:
    [(attempts, failed)] = scene.mailroom.rows(
        "SELECT max(attempts), count(*) FILTER (WHERE state = 'failed') FROM tasks"
    )
    found = [f"{failed} tasks failed"] if failed else []
    # A file without room while another one has some is retried; that counts an attempt, but not often.
    return [*found, f"a task was charged {attempts} attempts"] if attempts > 4 else found


RUNS = (
    Run(
        name="redis_kill",
        promise="SIGKILL to Redis: the door turns to PostgreSQL, workers go on when Redis is back",
        do=redis_kill,
    ),
    Run(name="redis_hung", promise="Redis stopped with connections open: the same", do=redis_hung, in_ci=True),
    Run(
        name="redis_wiped",
        promise="FLUSHALL: recorded work finishes; only deliveries in the intake may be gone, and are counted",
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
    Run(
        name="disk_full",
        promise="no room for files: they wait and lose no attempt, nothing else waits, no part of a file is left",
        do=disk_full,
        in_ci=True,
    ),
)
