"""The heartbeat of a process: a row says that it is alive, and how many tasks it can run at a time."""

from __future__ import annotations

import threading

import structlog

from shared.db.core.pool import Pool
from shared.db.tasks import capacity
from shared.errors import StoreUnavailable

INTERVAL_SECONDS = 4.0
log = structlog.get_logger()


class Heartbeat:
    """A thread that renews the process's row until it is stopped."""

    def __init__(self, pool: Pool, name: str, kind: str, slots: int = 0):
        self._pool = pool
        self._name = name
        self._kind = kind
        self._slots = slots
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
        while not self._stopped.is_set():
            try:
                self._pool.run(lambda conn: capacity.record_heartbeat(conn, self._name, self._kind, self._slots))
            except StoreUnavailable as exc:
                log.warning("heartbeat_missed", reason=str(exc))
            except Exception:  # without the thread, a live process would count as dead
                log.exception("heartbeat_missed")
            self._stopped.wait(INTERVAL_SECONDS)
