"""A load of plain Celery without Mailroom: a publisher, workers that restart, and the file of their effects."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

import redis
from kombu.exceptions import OperationalError

from bench.faults import textbook_celery
from bench.faults.textbook_celery import COUNT, textbook
from bench.harness.platform import Platform, inherited
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from celery import Celery

QUEUE = "celery"
THREADS = 2
BACKLOG = 1500  # messages; enough that no worker is ever idle, few enough that every kill meets fresh ones
BATCH = 50  # messages between two checks of the backlog
STOPS_WITHIN = 60.0
WORKS_WITHIN = 120.0  # seconds from the start to the first effect, on a busy machine
DRAINS_WITHIN = 600.0
EMPTY_POLLS = 3
POLL_SECONDS = 1.0


class Publisher:
    """Sends numbers as tasks, as a web view would, as a context manager.

    `acknowledged` has the numbers whose sending succeeded; the backlog limits the speed.
    """

    def __init__(self, broker_url: str) -> None:
        self.acknowledged: set[int] = set()
        self.refused = 0
        self._app: Celery = textbook(broker_url)
        self._broker = redis.Redis.from_url(broker_url, socket_timeout=5)
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, name="publisher") for _ in range(THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(STOPS_WITHIN)
        self._app.close()
        self._broker.close()

    def _send(self) -> None:
        while not self._stop.is_set():
            self._wait_for_workers()
            for number in itertools.islice(self._numbers, BATCH):
                self._send_one(number)

    def _send_one(self, number: int) -> None:
        try:
            self._app.tasks[COUNT].delay(number)
        except (OperationalError, redis.RedisError, OSError):  # not acknowledged, but it may still run
            self.refused += 1
            self._stop.wait(0.05)
        else:
            self.acknowledged.add(number)

    def _wait_for_workers(self) -> None:
        with suppress(redis.RedisError):
            while not self._stop.is_set() and cast("int", self._broker.llen(QUEUE)) > BACKLOG:
                time.sleep(0.02)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`lost` were acknowledged and never done, `twice` done repeatedly, `unacknowledged` done all the same."""

    lost: frozenset[int]
    twice: frozenset[int]
    unacknowledged: frozenset[int]


def compare(acknowledged: AbstractSet[int], done: Mapping[int, int]) -> Comparison:
    """Compare the acknowledged numbers with how often each was done."""
    return Comparison(
        lost=frozenset(acknowledged - done.keys()),
        twice=frozenset(number for number, times in done.items() if times > 1),
        unacknowledged=frozenset(done.keys() - acknowledged),
    )


class Effects:
    """Reads the file that the workers append to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: Counter[int] = Counter()
        #: The main processes that have done a task.
        self.seen: set[int] = set()
        #: When each worker did its last task.
        self.last: dict[str, float] = {}
        self._offset = 0
        path.touch(mode=0o600)

    def read(self) -> None:
        """Read the whole lines that were added."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            added, _, _ = file.read().rpartition(b"\n")
        self._offset += len(added) + bool(added)
        for line in added.decode().splitlines():
            number, worker, process, at = line.split()
            self.done[int(number)] += 1
            self.seen.add(int(process))
            self.last[worker] = max(float(at), self.last.get(worker, 0.0))


class NotDrained(Exception):
    """The broker still holds messages, so a missing one may not be lost."""


def drain(broker_url: str) -> float:
    """Wait until queue and `unacked` are empty; return the seconds it took. Needs living workers.

    The messages of a killed worker lie in `unacked` until their visibility timeout is over. Kombu restores them every
    100 seconds; the same function of kombu is called here every second. A task without an effect afterwards is lost.
    """
    began = time.monotonic()
    app, broker = textbook(broker_url), redis.Redis.from_url(broker_url, socket_timeout=5)
    empty = 0
    while empty < EMPTY_POLLS:
        held = broker.llen(QUEUE), broker.hlen("unacked")
        if time.monotonic() - began > DRAINS_WITHIN:
            raise NotDrained(f"{held[0]} messages queued and {held[1]} unacknowledged after {DRAINS_WITHIN:g} s")
        empty = 0 if any(held) else empty + 1
        _restore(app)
        time.sleep(POLL_SECONDS)
    app.close()
    broker.close()
    return time.monotonic() - began


def _restore(app: Celery) -> None:
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel  # of kombu's Redis transport
        channel.qos.restore_visible(num=None, interval=1)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One worker: its name, Celery's pool, and the tasks that it runs at a time."""

    name: str
    pool: str
    slots: int

    def command(self, python: str) -> list[str]:
        """Return the command that starts it with this interpreter's Celery."""
        options = ("-P", self.pool, "-c", str(self.slots), "-n", f"{self.name}@%h", "-l", "ERROR")
        return [python, textbook_celery.__file__, "worker", *options, "--without-gossip", "--without-mingle"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The running workers and their effects."""

    broker_url: str
    names: Sequence[str]
    platform: Platform
    effects: Effects

    def works(self, name: str) -> bool:
        """Tell whether the current process of this name has done a task, as far as was read."""
        return any(process in self.effects.seen for process in self.platform.pids(name))

    def await_all(self) -> None:
        """Wait until every worker has done a task."""
        if not wait_until(self._all_work, WORKS_WITHIN):
            raise RuntimeError(f"no effect within {WORKS_WITHIN:g} s of one of {', '.join(self.names)}")

    def drain(self) -> float:
        """Wait until the broker is empty and read all effects; return the seconds it took."""
        took = drain(self.broker_url)
        self.effects.read()
        return took

    def _all_work(self) -> bool:
        self.effects.read()
        return all(map(self.works, self.names))


@contextmanager
def trial(
    folder: Path, broker_url: str, kinds: Sequence[Kind], *, python: str = sys.executable, task_seconds: float = 0
) -> Iterator[Trial]:
    """Run workers of these kinds with this interpreter's Celery; they end with the context."""
    folder.mkdir(parents=True)
    effects = Effects(folder / "effects")
    own = {"BROKER_URL": broker_url, "EFFECTS": str(effects.path), "TASK_SECONDS": str(task_seconds)}
    with Platform(inherited() | own, folder) as platform:
        for kind in kinds:
            platform.run(kind.name, kind.command(python), WORKER=kind.name)
        yield Trial(broker_url=broker_url, names=[kind.name for kind in kinds], platform=platform, effects=effects)
