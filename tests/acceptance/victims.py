"""The kinds of processes of a running Mailroom, each with a check whether it holds work."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import psutil
import psycopg
import redis
import requests

from bench.harness.processes import is_alive, wait_until
from tests.acceptance.killing import Victim, connections, unread_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.acceptance.killing import Held
    from tests.acceptance.stack import Stack

Processes = list[psutil.Process]
COUNT_WITHIN = 0.3  # the door waits 0.4 s for Redis and then uses the spool
# A killed worker's tasks come back after their lease. A few are enough; more would only make the test longer.
MAX_RUNNING = 8
DOOR_WORKERS = 2

RUNNING = """
    SELECT count(*) FROM attempts a JOIN tasks t ON t.id = a.task_id AND t.lease_epoch = a.epoch
    WHERE t.state = 'running' AND a.ended_at IS NULL AND a.worker LIKE %s
"""
IN_FLIGHT = """
    SELECT count(*) FROM in_flight_entries WHERE EXISTS (
        SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND granted AND application_name LIKE %s)
"""
DUE = """
    SELECT count(*) FROM tasks
    WHERE ((state = 'ready' AND due_at <= now()) OR (state IN ('queued', 'running') AND lease_until < now()))
      AND EXISTS (SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
                  WHERE locktype = 'advisory' AND granted AND application_name LIKE %s)
"""


class Victims:
    """Finds the victims among the children of `mailroom up`."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        published = stack.published()
        self._redis = redis.Redis.from_url(published["REDIS_URL"], socket_timeout=2)
        self._redis_port = int(self._redis.connection_pool.connection_kwargs["port"])

    def all(self) -> list[Victim]:
        """Return a victim of every kind."""
        return [
            Victim(name="worker", find=self._of("worker@"), held=self._running, works=self._has_heartbeat),
            self._quick("recorder", "recorder@", self._recording),
            self._quick("sweeper", "workers.sweeping.sweeper", self._due),
            Victim(name="door (a worker)", find=self._door_workers, held=self._requests, works=self._door_works),
            Victim(name="door (main)", find=self._door, held=self._requests, works=self._door_works),
            Victim(name="Valkey", find=self._of("valkey.conf"), held=self._writers, works=self._valkey_works),
            Victim(
                name="PostgreSQL",
                find=self._postgres,
                held=self._statements,
                works=self._postgres_works,
                with_children=True,
            ),
        ]

    def _quick(self, name: str, mark: str, held: Held) -> Victim:
        return Victim(name=name, find=self._of(mark), held=held, works=self._has_heartbeat, needs_burst=True)

    def _of(self, mark: str) -> Callable[[], Processes]:
        return partial(self._with_mark, mark)

    def _with_mark(self, mark: str) -> Processes:
        children = psutil.Process(self._stack.up.pid).children()
        return [child for child in children if is_alive(child) and any(mark in word for word in _words(child))]

    def _door(self) -> Processes:
        return [each for main in self._with_mark("ingest") for each in (main, *_at_port(main, self._stack.port))]

    def _door_workers(self) -> Processes:
        """Return the worker with the most connections; it alone is suspended and killed."""
        workers = [each for main in self._with_mark("ingest") for each in _at_port(main, self._stack.port)]
        workers.sort(key=lambda worker: -len(connections(worker)))
        return workers[:1] if len(workers) == DOOR_WORKERS else []

    def _postgres(self) -> Processes:
        return [each for main in self._with_mark("pgdata") for each in (main, *main.children())]

    def _running(self, found: Sequence[psutil.Process]) -> str:
        count = self._count(RUNNING, found)
        return f"{count} running tasks" if count <= MAX_RUNNING and count else ""

    def _recording(self, found: Sequence[psutil.Process]) -> str:
        count = self._count(IN_FLIGHT, found)
        return f"{count} deliveries being recorded" if count else ""

    def _due(self, found: Sequence[psutil.Process]) -> str:
        count = self._count(DUE, found)
        return f"{count} due tasks" if count else ""

    def _requests(self, found: Sequence[psutil.Process]) -> str:
        """Count the requests that have arrived at the suspended processes alone."""
        own = {ports for process in found for ports in connections(process) if ports[0] == self._stack.port}
        waiting = _count_soon(lambda: sum(ports in own for ports in unread_bytes()))
        return f"{waiting} requests in flight" if waiting else ""

    def _writers(self, _: Sequence[psutil.Process]) -> str:
        """Count the door's commands that the suspended server has not read."""
        doors = {ports for process in self._door() for ports in connections(process) if ports[1] == self._redis_port}
        waiting = _count_soon(lambda: sum((other, own) in doors for own, other in unread_bytes()))
        return f"{waiting} writes of the door" if waiting else ""

    def _statements(self, found: Sequence[psutil.Process]) -> str:
        """Count the sessions within a transaction, by the titles of PostgreSQL's processes."""
        titles = [" ".join(_words(process)).strip() for process in found[1:]]
        busy = [title for title in titles if "[local]" in title and not title.endswith(" idle")]
        return f"{len(busy)} transactions" if busy else ""

    def _count(self, query: str, found: Sequence[psutil.Process]) -> int:
        [(count,)] = self._stack.rows(query, f"%:{found[0].pid}-%")
        return int(count)

    def _has_heartbeat(self, process: psutil.Process) -> bool:
        try:
            return bool(self._stack.rows("SELECT 1 FROM processes WHERE name LIKE %s", f"%:{process.pid}-%"))
        except psycopg.Error:
            return False

    def _door_works(self, _: psutil.Process) -> bool:
        try:
            ready = requests.get(f"http://127.0.0.1:{self._stack.port}/readyz", timeout=2).ok
        except requests.RequestException:
            return False
        return ready and len(self._door()) == 1 + DOOR_WORKERS

    def _valkey_works(self, _: psutil.Process) -> bool:
        try:
            return bool(self._redis.ping())
        except redis.RedisError:
            return False

    def _postgres_works(self, _: psutil.Process) -> bool:
        try:
            return bool(self._stack.rows("SELECT 1"))
        except psycopg.Error:
            return False


def _at_port(main: psutil.Process, port: int) -> Processes:
    """Return the children that listen on the port."""
    found = []
    for child in main.children():
        try:
            at = {each.laddr.port for each in child.net_connections(kind="tcp4") if each.status == psutil.CONN_LISTEN}
        except psutil.NoSuchProcess:
            continue
        if port in at:
            found.append(child)
    return found


def _words(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
    except psutil.NoSuchProcess:
        return []
    return words


def _count_soon(count: Callable[[], int]) -> int:
    """Return the count as soon as it is not 0, or 0 when that takes too long."""
    wait_until(lambda: count() > 0, COUNT_WITHIN, every=0.01)
    return count()
