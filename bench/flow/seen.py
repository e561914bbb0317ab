"""When events became rows that others see: `recorded_at` is when the transaction began, not when it was over."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Self

import psycopg

#: So long an event may be a row before it is seen to be one.
EVERY_SECONDS = 0.005


@dataclass(frozen=True, kw_only=True)
class Row:
    """An event as it was seen; `at` by the wall clock, which the sandbox uses, too."""

    conversation: str
    at: float


class SeenRows:
    """Looks for new events all the time, from a connection of its own; a context manager. `rows` by Front's id."""

    def __init__(self, database_url: str) -> None:
        self.rows: dict[str, Row] = {}
        self._url = database_url
        self._last = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="seen-rows", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as conn:
            while not self._stop.wait(EVERY_SECONDS):
                self._look(conn)

    def _look(self, conn: psycopg.Connection) -> None:
        query = "SELECT id, front_id, conversation_id FROM events WHERE id > %s ORDER BY id"
        found = conn.execute(query, (self._last,)).fetchall()
        at = time.time()
        for self._last, event, conversation in found:
            self.rows[event] = Row(conversation=conversation, at=at)
