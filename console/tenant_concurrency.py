"""Lets a tenant's requests change users in turns: in PostgreSQL they would wait for each other, a connection each."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.errors import MailroomError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Crowded(MailroomError):
    """Too many requests of this tenant's change users just now; send it again."""

    code = "crowded"


@dataclass
class _Queue:
    """Those of one tenant: who has its turn and how many there are with those who wait."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    length: int = 0


class Turns:
    """One turn at a time for each tenant; of one tenant at most `most` requests wait, and no longer than `seconds`."""

    def __init__(self, *, most: int, seconds: float):
        self._most = most
        self._seconds = seconds
        self._queues: dict[int, _Queue] = {}
        self._lock = threading.Lock()

    @contextmanager
    def of(self, tenant_id: int) -> Iterator[None]:
        """The tenant's turn. Raises Crowded."""
        queue = self._join(tenant_id)
        try:
            if not queue.turn.acquire(timeout=self._seconds):
                raise Crowded("other requests change this tenant's users for too long; send it again")
            try:
                yield
            finally:
                queue.turn.release()
        finally:
            self._leave(tenant_id, queue)

    def _join(self, tenant_id: int) -> _Queue:
        with self._lock:
            queue = self._queues.setdefault(tenant_id, _Queue())
            if queue.length >= self._most:
                raise Crowded(f"{queue.length} requests change this tenant's users at once; send it again")
            queue.length += 1
            return queue

    def _leave(self, tenant_id: int, queue: _Queue) -> None:
        with self._lock:
            queue.length -= 1
            if not queue.length:
                del self._queues[tenant_id]
