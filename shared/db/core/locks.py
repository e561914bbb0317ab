"""Who may do what at a time: advisory locks, gone with the session or transaction that held them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg

from shared.db.core.pool import KEEPALIVES, Connection, is_away
from shared.errors import StoreUnavailable

_ROLES = 0x6D720001
RECORDER, SWEEPER = 1, 2
_FILES, _RETENTION = 3, 4
_ERASING = 5  # also in forget_erased_company of schema.sql


def lock_conversation(conn: Connection, tenant_id: int, conversation_id: str) -> None:
    """Hold the conversation until the transaction ends: whatever settles or releases work in it takes this first."""
    lock_conversations(conn, [(tenant_id, conversation_id)])


def lock_conversations(conn: Connection, named: Iterable[tuple[int, str]]) -> None:
    """Hold these and all that they were merged with. The first lock of a transaction, and its only one.

    Raises SerializationFailure, upon which the transaction is to be repeated, when one was merged while we waited.
    """
    pairs = list(named)
    conn.execute(
        "SELECT lock_conversations(%s::bigint[], %s::text[])",
        ([tenant_id for tenant_id, _ in pairs], [conversation_id for _, conversation_id in pairs]),
    )


def take_role(conn: Connection, role: int) -> bool:
    """Become the recorder or the sweeper for the life of this connection; False while somebody else is."""
    row = conn.execute("SELECT pg_try_advisory_lock(%s, %s)", (_ROLES, role)).fetchone()
    return bool(row and row[0])


def leave_role(conn: Connection, role: int) -> None:
    """Let the next one in."""
    conn.execute("SELECT pg_advisory_unlock(%s, %s)", (_ROLES, role))


def try_lock_files(conn: Connection) -> bool:
    """Be the one who dispatches files until the transaction ends; False while somebody else is."""
    return _try_lock(conn, _FILES)


def try_lock_retention(conn: Connection) -> bool:
    """Be the one who deletes what is too old until the transaction ends; False while somebody else is."""
    return _try_lock(conn, _RETENTION)


def _try_lock(conn: Connection, what: int) -> bool:
    row = conn.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", (_ROLES, what)).fetchone()
    return bool(row and row[0])


def hold_off_erasing(conn: Connection) -> None:
    """Let nobody begin to erase a company until the transaction ends: what is read of companies stays true."""
    conn.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", (_ROLES, _ERASING))


def begin_erasing(conn: Connection) -> None:
    """Wait for those who hold erasing off, and keep others from it until the transaction ends: make it short."""
    conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_ROLES, _ERASING))


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
