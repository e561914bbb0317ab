"""Ends a transaction that PostgreSQL leaves without an answer: a server that was stopped holds to no timeout itself."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def transaction_within(conn: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """One transaction, whose connection is hung up after `seconds`. Raises StoreUnavailable then."""
    line = _Line(conn)
    timer = threading.Timer(seconds, line.hang_up)
    timer.daemon = True
    timer.start()
    try:
        with conn.transaction():
            yield
    except psycopg.Error as exc:
        if line.was_hung_up:
            raise StoreUnavailable(f"PostgreSQL did not answer within {seconds:.0f} s; check DATABASE_URL") from exc
        raise
    finally:
        timer.cancel()
        line.leave()


class _Line:
    """A connection while it is ours: what comes too late must not meet the next one who has it."""

    def __init__(self, conn: psycopg.Connection[Any]):
        self._conn: psycopg.Connection[Any] | None = conn
        self._lock = threading.Lock()
        self.was_hung_up = False

    def hang_up(self) -> None:
        """Let whoever waits for an answer read the end of the connection."""
        with self._lock:
            if self._conn is None or self._conn.closed:
                return
            self.was_hung_up = True
            with socket.socket(fileno=os.dup(self._conn.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        with self._lock:
            self._conn = None
