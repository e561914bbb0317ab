"""Advisory locks: they end with the session or the transaction that took them, never by time.

Through a pooler a session belongs to a client for one transaction only. So a role is a transaction there, which stays
open for as long as the role is held. Between its statements such a transaction holds no snapshot: VACUUM goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg

from shared.db.core import advice, connect, is_pooled, reason_of, set_local
from shared.db.core.pool import KEEPALIVES, Connection, is_unavailable
from shared.errors import StoreUnavailable

T = TypeVar("T")
Cursor: TypeAlias = psycopg.Cursor[tuple[Any, ...]]

# All locks but those of conversations share one class id; their object id tells them apart.
_LOCKS = 0x6D720001
RECORDER, SWEEPER = 1, 2
#: The lock of part n of a role has the role's number plus n times this: it is none of the other locks.
_PART = 16
_ROLE_NAMES = {RECORDER: "recorder of", SWEEPER: "sweeper"}
_FILES, _RETENTION = 3, 4
_SHARED_FIGURES = 6
_NUMBERING, _NOTIFYING = 7, 12
_ASKED = {_NUMBERING: "numbering", _NOTIFYING: "notifying"}
_ERASING = 5  # also in forget_erased_company of schema.sql
_END_EARLIER_SESSION = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = %s AND pid <> pg_backend_pid() AND datname = current_database() AND usename = current_user
"""
_TIMEOUTS = "SET statement_timeout = '5s'"
_WITHOUT_END = "SET LOCAL idle_in_transaction_session_timeout = 0"
_WITHOUT_END_SINCE_17 = f"{_WITHOUT_END}; SET LOCAL transaction_timeout = 0"


def lock_conversation(conn: Connection, tenant_id: int, conversation_id: str) -> None:
    """Lock the conversation until the transaction ends. Whoever settles or releases work in it does this first."""
    lock_conversations(conn, [(tenant_id, conversation_id)])


def lock_conversations(conn: Connection, conversations: Iterable[tuple[int, str]]) -> None:
    """Lock these conversations, and all that were merged with them, until the transaction ends.

    A transaction takes these locks first, and once. Raises SerializationFailure when a conversation was merged
    while we waited for its lock: the caller repeats the transaction.
    """
    pairs = list(conversations)
    conn.execute(
        "SELECT lock_conversations(%s::bigint[], %s::text[])",
        ([tenant_id for tenant_id, _ in pairs], [conversation_id for _, conversation_id in pairs]),
    )


def try_lock_files(conn: Connection) -> bool:
    """Lock the dispatching of files until the transaction ends; False while another transaction has the lock."""
    return _try_lock(conn, _FILES)


def try_lock_retention(conn: Connection) -> bool:
    """Lock the deletion of old events until the transaction ends; False while another transaction has the lock."""
    return _try_lock(conn, _RETENTION)


def try_lock_shared_figures(conn: Connection) -> bool:
    """Lock the counting of open work until the transaction ends; False while another transaction counts it."""
    return _try_lock(conn, _SHARED_FIGURES)


def try_lock_numbering(conn: Connection) -> bool:
    """Lock the numbering of notifications until the transaction ends; False while another transaction numbers."""
    return _try_lock(conn, _NUMBERING)


#: Whether the lock that `ask_for_numbering` or `ask_for_notifying` asked for is this transaction's.
HAS_NUMBERING, HAS_NOTIFYING = (f"current_setting('mailroom.{name}', true) = 'true'" for name in _ASKED.values())


def ask_for_numbering(conn: Connection) -> Cursor:
    """Lock the numbering like `try_lock_numbering`, in a pipeline: the next statements look at `HAS_NUMBERING`."""
    return _ask_for(conn, _NUMBERING)


def ask_for_notifying(conn: Connection) -> Cursor:
    """Lock the choice of notifications to send, in a pipeline: the next statements look at `HAS_NOTIFYING`.

    The cursor has one row with the same, as a text.
    """
    return _ask_for(conn, _NOTIFYING)


def prevent_erasing(conn: Connection) -> None:
    """Let no erasure begin until the transaction ends, so that the companies it read stay as they were."""
    conn.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", (_LOCKS, _ERASING))


def lock_for_erasing(conn: Connection) -> None:
    """Wait for all transactions that hold erasing off, and lock them out until this one ends. Keep it short."""
    conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCKS, _ERASING))


def _ask_for(conn: Connection, lock: int) -> Cursor:
    """Try to take a lock until the transaction ends, and leave the answer in a setting of the transaction."""
    query = "SELECT set_config(%s, pg_try_advisory_xact_lock(%s, %s)::text, true)"
    return conn.execute(query, (f"mailroom.{_ASKED[lock]}", _LOCKS, lock))


def end_role_sessions(conn: Connection, process: str) -> int:
    """End the sessions in which this process has the role of recorder or sweeper, and return their number."""
    return conn.execute(
        """
        SELECT pg_terminate_backend(held.pid) FROM pg_locks held JOIN pg_stat_activity session USING (pid)
        WHERE held.locktype = 'advisory' AND held.granted AND held.classid = %s
          AND held.objid::bigint %% %s = ANY(%s::bigint[])
          AND session.datname = current_database() AND session.usename = current_user
          AND session.application_name = ANY(%s)
        """,
        (_LOCKS, _PART, [RECORDER, SWEEPER], [_session_name(role, process) for role in _ROLE_NAMES]),
    ).rowcount


def _session_name(role: int, process: str) -> str:
    """Return the name of the session in which the process has the role. No other process's session has it.

    PostgreSQL keeps 63 bytes of it. The end of a process's name tells it from others.
    """
    name = f"{_ROLE_NAMES[role]} "
    return name + process[len(name) - 63 :]


def _try_lock(conn: Connection, lock: int) -> bool:
    row = conn.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", (_LOCKS, lock)).fetchone()
    return bool(row and row[0])


class Role:
    """The role of recorder or sweeper, which one session at most has. It is lost with the session, never by time."""

    def __init__(self, database_url: str, role: int, *, process: str):
        self._url = database_url
        self._role = role
        self._name = _session_name(role, process)
        self._conn: Connection | None = None

    @contextmanager
    def held(self, *, part: int = 0) -> Iterator[bool]:
        """Hold the role inside the block; give False while another session has it. Raises StoreUnavailable.

        A role may have parts, which several sessions hold at the same time, one each.
        """
        lock = self._role + part * _PART
        try:
            conn = self._connection()
            is_ours = self._try_take(conn, lock)
        except psycopg.Error as exc:
            self.close()
            if not is_unavailable(exc):
                raise
            reason = reason_of(exc)
            raise StoreUnavailable(
                f"PostgreSQL did not give the role of {self._name} ({reason}); {advice(reason)}"
            ) from exc
        try:
            yield is_ours
        finally:
            if is_ours:
                self._give_up(conn, lock)

    def check(self) -> None:
        """Raise StoreUnavailable when the connection is lost, and the role with it."""
        self.run(lambda conn: conn.execute("SELECT 1"))

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in the session that has the role. Raises StoreUnavailable when the role is lost with it."""
        try:
            return work(self._connection())
        except psycopg.Error as exc:
            if not is_unavailable(exc):
                raise
            self.close()
            raise StoreUnavailable(f"the role of {self._name} is lost with its connection") from exc

    def close(self) -> None:
        """Close the connection, and lose the role with it."""
        if self._conn:
            self._conn.close()
            self._conn = None

    def _connection(self) -> Connection:
        if self._conn is None or self._conn.closed:
            self._conn = connect(
                self._url, application_name=self._name, timeouts=_TIMEOUTS, connect_timeout=5, **KEEPALIVES
            )
            self._end_earlier_session(self._conn)
        return self._conn

    def _end_earlier_session(self, conn: Connection) -> None:
        """End our last session, which may still have the role: PostgreSQL does not know that its connection is lost."""
        if not is_pooled(conn):  # sessions behind a pooler are not ours to end
            conn.execute(_END_EARLIER_SESSION, (self._name,))

    def _try_take(self, conn: Connection, lock: int) -> bool:
        if is_pooled(conn):
            return self._try_take_by_transaction(conn, lock)
        row = conn.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCKS, lock)).fetchone()
        return bool(row and row[0])

    def _try_take_by_transaction(self, conn: Connection, lock: int) -> bool:
        conn.execute("BEGIN")
        set_local(conn, _TIMEOUTS)
        conn.execute(_WITHOUT_END_SINCE_17 if conn.info.server_version >= 170_000 else _WITHOUT_END)
        is_ours = _try_lock(conn, lock)
        if not is_ours:
            conn.execute("ROLLBACK")
        return is_ours

    def _give_up(self, conn: Connection, lock: int) -> None:
        try:
            if is_pooled(conn):
                conn.execute("ROLLBACK")
            else:
                conn.execute("SELECT pg_advisory_unlock(%s, %s)", (_LOCKS, lock))
        except psycopg.Error:
            self.close()
