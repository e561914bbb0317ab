"""The heartbeat of a process: a row says that it is alive, and how many tasks it can run at a time.

A process that ends deletes its row. The row of a killed one is deleted by the next that starts on the same machine.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

import structlog

from shared import installed_version
from shared.db.core.pool import Connection, Pool
from shared.db.tasks import capacity
from shared.errors import StoreUnavailable
from shared.process import is_running

INTERVAL_SECONDS = 4.0
log = structlog.get_logger()


class Heartbeat:
    """A thread that renews the process's row until it is stopped.

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
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

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

    def _beat(self) -> None:
        first = True
        while not self._stopped.is_set():
            try:
                self._pool.run(self._record)
                if first:
                    self._pool.run(self._remove_ended)
                first = False
                if self._also:
                    self._also()
            except StoreUnavailable as exc:
                log.warning("heartbeat_missed", reason=str(exc))
            except Exception:  # without the thread, a live process would count as dead
                log.exception("heartbeat_missed")
            self._stopped.wait(INTERVAL_SECONDS)

    def _record(self, conn: Connection) -> None:
        capacity.record_heartbeat(conn, self._name, self._kind, self._slots, self._connections, version=self._version)

    def _remove_ended(self, conn: Connection) -> None:
        """Delete the rows of this machine's processes that are gone. One of another container writes its row again."""
        for name in capacity.process_names(conn):
            if _machine(name) == _machine(self._name) and not is_running(name.rpartition(":")[2]):
                log.warning("process_was_killed", name=name)
                capacity.remove_process(conn, name)


def process_name(kind: str) -> str:
    """Return the name of this process, as its row and its connections have it."""
    return f"{kind}@{socket.gethostname()}:{os.getpid()}"


def _machine(name: str) -> str:
    return name.partition("@")[2].rpartition(":")[0]
