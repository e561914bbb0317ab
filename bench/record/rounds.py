"""One round of recording: our recorder, or a Celery task for each webhook, over the same deliveries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, LiteralString, Self

import psycopg
from celery import Celery
from cryptography.fernet import Fernet

from bench.harness.platform import ROOT, base_environment
from bench.harness.processes import wait_until
from bench.harness.usage import cpu_seconds
from shared.intake.client import Intake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from bench.harness.servers import Servers
    from shared.models import Delivery

READY_WITHIN = 60.0
RECORDED_WITHIN = 600.0
BATCH = 500
#: Share of the tasks after which the worker runs at full speed.
WARM_UP = 0.2
#: The argument that makes `bench.record.drain` profile itself.
SHARES = "shares"
TASK_THREADS = 4
TASK_QUEUE = "webhooks"
TASK = "bench.record.celery_tasks.process_webhook"
TASK_WORKER = [
    *(sys.executable, "-m", "celery", "-A", "bench.record.celery_tasks", "worker", "-Q", TASK_QUEUE, "-P", "threads"),
    *("-c", str(TASK_THREADS), "--without-gossip", "--without-mingle", "-l", "warning"),
]


class Stores:
    """The database and the intake of a round; `environment` is for the processes that record."""

    def __init__(self, servers: Servers, urls: tuple[str, str], folder: Path) -> None:
        self.database_url, redis_url = urls
        own = {"TOKEN_KEYS": Fernet.generate_key().decode(), "MAILROOM_DATA": str(folder), "LOG_LEVEL": "WARNING"}
        files = {"STORAGE_URL": f"file://{folder}/files"}
        self.environment = {
            **base_environment(),
            **own,
            **files,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": redis_url,
        }
        self.intake = Intake(servers.redis())
        self._servers = servers
        self._conn = psycopg.connect(self.database_url, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._conn.close()
        self.intake.close()

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Put them into the intake."""
        for begin in range(0, len(deliveries), BATCH):
            self.intake.put(deliveries[begin : begin + BATCH])

    def last_event(self) -> int:
        """Return the id of the newest event, which is also their count while no event comes twice."""
        return self._number("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_id_seq")

    def events_after(self, event_id: int) -> int:
        """Count the rows of newer events."""
        return self._number("SELECT count(*) FROM events WHERE id > %s", event_id)

    def postgres_cpu_seconds(self) -> float:
        """Return the CPU time of all its living processes."""
        return cpu_seconds([self._servers.postgres.pid])

    def _number(self, statement: LiteralString, *values: int) -> int:
        row = self._conn.execute(statement, values).fetchone()
        return int(row[0]) if row else 0


@dataclass(frozen=True, kw_only=True)
class Round:
    """`unrecorded` counts the webhooks without a row; `load_average` is that at the start."""

    webhooks: int
    unrecorded: int
    seconds: float
    cpu_seconds: float
    postgres_cpu_seconds: float
    load_average: float
    shares: dict[str, float] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Webhooks recorded a second."""
        return self.webhooks / self.seconds

    @property
    def own_cpu_us(self) -> float:
        """CPU of an event in the processes that record, in microseconds."""
        return self.cpu_seconds / self.webhooks * 1e6

    @property
    def postgres_cpu_us(self) -> float:
        """CPU of an event in PostgreSQL, in microseconds."""
        return self.postgres_cpu_seconds / self.webhooks * 1e6

    @property
    def cpu_us(self) -> float:
        """CPU of an event in both."""
        return self.own_cpu_us + self.postgres_cpu_us

    def __str__(self) -> str:
        cpu = f"CPU us an event: own {self.own_cpu_us:.0f}, PostgreSQL {self.postgres_cpu_us:.0f}"
        rest = f"{self.unrecorded} unrecorded, load average {self.load_average:.2f}"
        return f"{self.per_second:,.0f} events/s, {cpu}, {rest}"


def drained(stores: Stores, deliveries: list[Delivery], chunk: int, *, shares: bool = False) -> Round:
    """Record all of them with our recorder, from the intake."""
    before, load = stores.last_event(), os.getloadavg()[0]
    stores.put(deliveries)
    command = [sys.executable, "-m", "bench.record.drain", str(chunk), *([SHARES] if shares else [])]
    with running(command, stores, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        read_line(process.stdout)
        used = stores.postgres_cpu_seconds()
        process.stdin.write(b"go\n")
        process.stdin.flush()
        measured = read_line(process.stdout)
        used = stores.postgres_cpu_seconds() - used
        process.stdin.close()
        process.wait(READY_WITHIN)
    return Round(
        webhooks=measured["webhooks"],
        unrecorded=len(deliveries) - stores.events_after(before),
        seconds=measured["seconds"],
        cpu_seconds=measured["cpu_seconds"],
        postgres_cpu_seconds=used,
        load_average=load,
        shares=measured["shares"],
    )


def by_task_each(stores: Stores, deliveries: list[Delivery]) -> Round:
    """Record all of them with a Celery task each; only those after the warm-up are measured."""
    before, load, total = stores.last_event(), os.getloadavg()[0], len(deliveries)
    _send_tasks(stores.environment["REDIS_URL"], deliveries)
    with running(TASK_WORKER, stores, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        begun = _wait_for_events(stores, before + round(total * WARM_UP), process.pid)
        ended = _wait_for_events(stores, before + total, process.pid)
    return Round(
        webhooks=ended[0] - begun[0],
        unrecorded=total - stores.events_after(before),
        seconds=ended[1] - begun[1],
        cpu_seconds=ended[2] - begun[2],
        postgres_cpu_seconds=ended[3] - begun[3],
        load_average=load,
    )


def _wait_for_events(stores: Stores, events: int, pid: int) -> tuple[int, float, float, float]:
    """Wait for this many events; return their count, the time and the CPU used so far."""
    wait_until(lambda: stores.last_event() >= events, RECORDED_WITHIN, every=0.02)
    return stores.last_event(), time.monotonic(), cpu_seconds([pid]), stores.postgres_cpu_seconds()


@contextmanager
def running(command: Iterable[str], stores: Stores, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command with the settings of the stores until the end of the block."""
    with subprocess.Popen(list(command), cwd=ROOT, env=stores.environment, **streams) as process:
        try:
            yield process
        finally:
            process.terminate()


def read_line(stream: IO[bytes]) -> dict[str, Any]:
    """Read an object that the process printed."""
    line = stream.readline()
    assert line, "the recorder ended; its output says why"
    message: dict[str, Any] = json.loads(line)
    return message


def _send_tasks(redis_url: str, deliveries: Iterable[Delivery]) -> None:
    with Celery("sender", broker=redis_url) as app:
        for each in deliveries:
            app.send_task(TASK, (each.body.decode(),), queue=TASK_QUEUE, argsrepr="-", kwargsrepr="-")
