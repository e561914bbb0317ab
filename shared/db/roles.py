"""Becomes the one recorder or the one sweeper, on a connection of its own that holds the lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from shared.db.locks import leave_role, take_role
from shared.db.pool import KEEPALIVES, Connection, is_away
from shared.errors import StoreUnavailable


class Role:
    """A role that at most one session holds; whoever has it loses it with the session, never by time."""

    def __init__(self, database_url: str, role: int, *, name: str):
        self._url = database_url
        self._role = role
        self._name = name
        self._conn: Connection | None = None

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the role while inside; False while somebody else does. Raises StoreUnavailable."""
        try:
            conn = self._connection()
            taken = take_role(conn, self._role)
        except psycopg.Error as exc:
            self.close()
            if not is_away(exc):
                raise
            raise StoreUnavailable(f"PostgreSQL did not give the role of {self._name}; check DATABASE_URL") from exc
        try:
            yield taken
        finally:
            if taken:
                self._leave(conn)

    def check(self) -> None:
        """Raise StoreUnavailable when the connection, and with it the role, is gone."""
        try:
            self._connection().execute("SELECT 1")
        except psycopg.Error as exc:
            self.close()
            raise StoreUnavailable(f"the role of {self._name} is lost with its connection") from exc

    def close(self) -> None:
        """Drop the connection and with it the role."""
        if self._conn:
            self._conn.close()
            self._conn = None

    def _connection(self) -> Connection:
        if self._conn is None or self._conn.closed:
            self._conn = psycopg.connect(
                self._url, autocommit=True, application_name=self._name, connect_timeout=5, **KEEPALIVES
            )
            self._conn.execute("SET statement_timeout = '5s'")
        return self._conn

    def _leave(self, conn: Connection) -> None:
        try:
            leave_role(conn, self._role)
        except psycopg.Error:
            self.close()
