"""The heartbeat of a process: a row says that it is alive, and how many tasks it can run at a time.

A process without a heartbeat for LOST_AFTER_SECONDS counts as lost, and its tasks go to others. So a heartbeat is also
a promise to the process: until then nobody takes its tasks away. PostgreSQL's clock alone decides, and our side counts
the same seconds from the moment before the heartbeat was sent.

A process that ends deletes its row. One that was killed counts as lost at once when another starts on its machine.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from shared import installed_version
from shared.db.core.pool import Connection, Pool
from shared.db.tasks import capacity
from shared.errors import StoreUnavailable
from shared.process import is_running, private_port

INTERVAL_SECONDS = 4.0
#: After an outage of PostgreSQL every process sends a heartbeat before the sweeper looks for lost ones.
AFTER_A_MISS_SECONDS = 1.0
log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Alive:
    """The time for which nobody may take this process for lost, by the monotonic clock.

    It may have counted as lost before `since`.
    """

    since: float
    until: float


def process_name(kind: str) -> str:
    """Return a name for this process that no other has, not even a restarted container's with the same host and pid."""
    return f"{kind}@{socket.gethostname()}:{os.getpid()}-{secrets.token_hex(2)}"


class Heartbeat:
    """A thread that renews the process's row until it is stopped. Other threads may renew it, too.

    `connections`: how many to PostgreSQL the process may have, without those of the pool. `also` is called with each
    beat.
    """

    def __init__(  # noqa: PLR0913 -- the facts of a process, each named at the call
        self,
        pool: Pool,
        name: str,
        kind: str,
        slots: int = 0,
        *,
        connections: int = 0,
        also: Callable[[], None] | None = None,
    ):
        self._pool = pool
        self._name = name
        self._kind = kind
        self._slots = slots
        self._connections = pool.size + connections
        self._also = also
        self._version = installed_version() or ""
        self._alive = Alive(since=0.0, until=0.0)
        self._turn = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and delete the process's row."""
        self._stopped.set()
        if not self._thread.is_alive():
            return
        self._thread.join(INTERVAL_SECONDS)
        try:
            self._pool.run(lambda conn: capacity.remove_process(conn, self._name))
        except StoreUnavailable as exc:
            log.warning("process_not_removed", reason=str(exc))

    def alive_for(self, seconds: float) -> Alive:
        """Return the time for which this process counts as alive: at least for `seconds` from now.

        Sends a heartbeat when less is left. Raises StoreUnavailable.
        """
        if self._is_alive_for(seconds):  # no thread waits for a heartbeat that it does not need
            return self._alive
        with self._turn:
            if not self._is_alive_for(seconds):
                self._beat()
            return self._alive

    def is_recorded(self) -> bool:
        """Whether PostgreSQL has a heartbeat by which this process counts as alive now; asks nobody."""
        return self._is_alive_for(0)

    def _is_alive_for(self, seconds: float) -> bool:
        return self._alive.until - time.monotonic() >= seconds

    def _beat(self) -> None:
        began = time.monotonic()
        self._pool.run(self._record)
        ended = time.monotonic()
        # The process may have been found lost before this heartbeat was written.
        since = self._alive.since if ended < self._alive.until else ended
        self._alive = Alive(since=since, until=began + capacity.LOST_AFTER_SECONDS)

    def _record(self, conn: Connection) -> None:
        capacity.record_heartbeat(
            conn,
            self._name,
            self._kind,
            self._slots,
            self._connections,
            version=self._version,
            metrics_port=private_port.port(),
        )

    def _run(self) -> None:
        pause, first = 0.0, True
        while not self._stopped.wait(pause):
            pause = AFTER_A_MISS_SECONDS
            try:
                with self._turn:
                    self._beat()
                if first:
                    self._pool.run(self._note_start)
                if self._also:
                    self._also()
                pause, first = INTERVAL_SECONDS, False
            except StoreUnavailable as exc:
                log.warning("heartbeat_missed", reason=str(exc))
            except Exception:  # without the thread, a live process would count as lost
                log.exception("heartbeat_missed")

    def _note_start(self, conn: Connection) -> None:
        capacity.note_version(conn, self._version)
        self._mark_killed(conn)

    def _mark_killed(self, conn: Connection) -> None:
        """Give up the processes of this machine that are gone. One of another container writes its row again."""
        for name in capacity.process_names(conn):
            if _machine(name) == _machine(self._name) and not is_running(_pid(name)):
                log.warning("process_was_killed", name=name)
                capacity.give_up_process(conn, name)


def _machine(name: str) -> str:
    return name.partition("@")[2].rpartition(":")[0]


def _pid(name: str) -> str:
    return name.rpartition(":")[2].partition("-")[0]
