"""Connections to PostgreSQL: the pool that the threads of a process share, and one connection for one command."""

from __future__ import annotations

import itertools
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

import psycopg
import structlog
from psycopg_pool import ConnectionPool, PoolTimeout

from shared.db.core import ENCODING, advice, is_full, is_pooled, prepare_session, reason_of, set_local
from shared.db.core.migrate import has_migrations, require_current
from shared.errors import MailroomError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.settings import Settings


T = TypeVar("T")
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

#: Seconds a thread waits for a free connection.
WAIT_FOR_CONNECTION = 5.0
#: psycopg_pool doubles its pause after each failed connection, up to minutes. An outage would last twice as long for
#: us. So the pool gives up after these seconds; then the next caller starts a new connection at once.
RECONNECT_SECONDS = 2.0
#: As often a pool closes one connection that nobody needed meanwhile.
IDLE_SECONDS = 10.0
TIMEOUTS = "SET lock_timeout = '5s'; SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '30s'"
#: The kernel gives up a connection to a host that has been silent for 10 to 20 s, and the next one is tried at once. It
#: would otherwise send again after ever longer pauses, so a network that is back would stay unused for as long as it
#: was away. On a Unix socket libpq ignores these.
KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}

# SQLSTATE codes, by how they begin: https://www.postgresql.org/docs/current/errcodes-appendix.html
LOST = ("08", "57P01", "57P02", "57P03", "57P05", "25P03")  # the session is gone; another connection may work
CONTENDED = ("40001", "40P01")  # the server rolled this transaction back in favour of another
# Full, locked for longer than we wait, too slow, a standby, or a GRANT is missing
BUSY = ("53", "55P03", "57014", "25006", "42501")
OVERTAKEN = ("23503",)  # a row that was read has been deleted since; a second run no longer reads it
LOST_TRIES = 2
CONTENDED_TRIES = 5


#: Seconds between two tries of a write while PostgreSQL is away.
AGAIN_SECONDS = 0.5
#: Seconds between two looks at a schema that is not migrated yet, and between two lines of the log about it.
SAID_AGAIN_SECONDS = 60.0
log = structlog.get_logger()


class TooSlow(MailroomError):
    """A statement took longer than its reader waits."""

    code = "too_slow"


class Pool:
    """Up to `size` connections, opened when first needed; safe to use from many threads.

    `max_seconds`: seconds after which a transaction is given up. The pool counts them itself, because a server that is
    stopped keeps to no timeout.
    """

    def __init__(
        self, database_url: str, *, size: int, application_name: str, max_seconds: float | None = None
    ) -> None:
        self.size = size
        self._max_seconds = max_seconds
        self._refusal: str | None = None  # why PostgreSQL gave no connection, until it gives one
        self._refusal_said_at = -SAID_AGAIN_SECONDS
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            database_url,
            kwargs={"application_name": application_name, "connect_timeout": 5, **ENCODING, **KEEPALIVES},
            min_size=1,
            max_size=size,
            timeout=WAIT_FOR_CONNECTION,
            max_idle=IDLE_SECONDS,
            reconnect_timeout=RECONNECT_SECONDS,
            connection_class=_connection_class(self._note_connect),
            configure=_configure,
            name=application_name,
            open=True,
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection; commit at the end, roll back on an exception.

        Raises StoreUnavailable when PostgreSQL is away or too busy, or when the schema is not that of this release.
        Other errors of psycopg pass as they are.
        """
        with self._errors_translated():
            try:
                with self._connection() as conn:
                    yield conn
            except psycopg.Error as exc:
                if is_lost(exc):
                    self._pool.check()
                self._blame_schema(exc)
                raise

    @contextmanager
    def reading(self, seconds: float) -> Iterator[Connection]:
        """Give a connection that only reads, each statement for so long at the most.

        Raises TooSlow, StoreUnavailable.
        """
        with self.transaction() as conn:
            conn.execute("SELECT set_config('transaction_read_only', 'on', true)")
            limit_statements(conn, seconds)
            try:
                yield conn
            except psycopg.errors.QueryCanceled as exc:
                raise TooSlow(f"the database did not find the rows within {seconds:g} s; narrow the search") from exc

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction; repeat it after a lost connection, a deadlock or a deleted foreign key.

        The answer to a commit may be lost after the commit happened, so `work` must be safe to repeat.
        Raises StoreUnavailable when PostgreSQL is away or too busy, and NotMigrated or SchemaTooNew for whatever fails
        on a schema that is not that of this release: then nothing is wrong with what was to be written.
        """
        return self._repeat(work, self._in_transaction)

    def run_autocommit(self, work: Callable[[Connection], T]) -> T:
        """Run `work` like `run`, but with each statement as its own transaction: this saves BEGIN and COMMIT.

        In a pool whose transactions have a `max_seconds`, and through a pooler, `work` is one transaction all the same.
        """
        return self._repeat(work, self._in_autocommit if self._max_seconds is None else self._in_transaction)

    def close(self) -> None:
        """Close every connection; those in use are closed when they are given back."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repeat(self, work: Callable[[Connection], T], run_once: Callable[[Callable[[Connection], T]], T]) -> T:
        with self._errors_translated():
            for attempt in itertools.count(1):
                try:
                    return run_once(work)
                except psycopg.Error as exc:
                    if attempt >= _most_attempts(exc):
                        self._blame_schema(exc)
                        raise
                    self._prepare_next_attempt(exc, attempt)
        raise AssertionError("counting has no end")

    def _in_transaction(self, work: Callable[[Connection], T]) -> T:
        with self._connection() as conn:
            return work(conn)

    def _in_autocommit(self, work: Callable[[Connection], T]) -> T:
        with self._pool.connection() as conn:
            if is_pooled(conn):
                set_local(conn, TIMEOUTS)
                return work(conn)
            conn.autocommit = True
            try:
                return work(conn)
            finally:
                if not conn.closed:
                    conn.autocommit = False

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as exc:
            if not is_unavailable(exc):
                raise
            reason = self._why_no_connection() if isinstance(exc, PoolTimeout) else reason_of(exc)
            raise StoreUnavailable(f"PostgreSQL did not take the transaction ({reason}); {advice(reason)}") from exc

    def _why_no_connection(self) -> str:
        return self._refusal or f"all {self.size} connections of this process are in use"

    def _note_connect(self, exc: psycopg.Error | None) -> None:
        self._refusal = reason_of(exc) if exc else None
        now = time.monotonic()
        if self._refusal and is_full(self._refusal) and now - self._refusal_said_at >= SAID_AGAIN_SECONDS:
            self._refusal_said_at = now
            log.error("connections_exhausted", reason=self._refusal, next=advice(self._refusal))

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._pool.connection() as conn:
            if self._max_seconds is None:
                set_local(conn, TIMEOUTS)
                yield conn
            else:
                with transaction_within(conn, self._max_seconds):
                    set_local(conn, TIMEOUTS)
                    yield conn

    def _prepare_next_attempt(self, exc: psycopg.Error, attempt: int) -> None:
        if is_lost(exc):
            self._pool.check()  # all connections are lost together; each one left would fail another caller
        else:
            time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - a pause

    def _blame_schema(self, exc: psycopg.Error) -> None:
        """Raise NotMigrated or SchemaTooNew from an error that waiting does not end, if the schema is at fault."""
        if is_unavailable(exc):
            return
        with suppress(psycopg.Error), self._pool.connection() as conn:
            try:
                if has_migrations(conn):
                    require_current(conn)
            except StoreUnavailable as cause:
                raise cause from exc


def open_pool(settings: Settings, *, size: int, application_name: str, max_seconds: float | None = None) -> Pool:
    """Open a pool on DATABASE_URL. Returns at once, even while PostgreSQL is away."""
    return Pool(
        settings.database_url.get_secret_value(), size=size, application_name=application_name, max_seconds=max_seconds
    )


def limit_statements(conn: Connection, seconds: float) -> None:
    """Give each statement of this transaction so long at the most."""
    conn.execute("SELECT set_config('statement_timeout', %s, true)", (f"{seconds * 1000:.0f}ms",))


def is_lost(exc: BaseException) -> bool:
    """Whether the session is gone, so that the same work may succeed on another connection."""
    if not isinstance(exc, psycopg.Error) or isinstance(exc, PoolTimeout):
        return False
    if exc.sqlstate is None:
        return isinstance(exc, psycopg.OperationalError)
    return exc.sqlstate.startswith(LOST)


def is_contended(exc: BaseException) -> bool:
    """Whether the server rolled this transaction back in favour of another."""
    return isinstance(exc, psycopg.Error) and exc.sqlstate in CONTENDED


def is_unavailable(exc: BaseException) -> bool:
    """Whether waiting helps, because nothing is wrong with the statement or its values."""
    busy = isinstance(exc, psycopg.Error) and (exc.sqlstate or "").startswith(BUSY)
    return busy or isinstance(exc, PoolTimeout) or is_lost(exc) or is_contended(exc)


@contextmanager
def transaction_within(conn: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Run one transaction, and shut its socket down after `seconds`. Raises StoreUnavailable then."""
    deadline = _ConnectionDeadline(conn)
    timer = threading.Timer(seconds, deadline.shut_down)
    timer.daemon = True
    timer.start()
    try:
        with conn.transaction():
            yield
    except psycopg.Error as exc:
        if deadline.has_passed:
            raise StoreUnavailable(f"PostgreSQL did not answer within {seconds:.0f} s; check DATABASE_URL") from exc
        raise
    finally:
        timer.cancel()
        deadline.cancel()


class _ConnectionDeadline:
    """Shuts a connection's socket down, unless it was cancelled: then the connection may be somebody else's."""

    def __init__(self, conn: psycopg.Connection[Any]):
        self._conn: psycopg.Connection[Any] | None = conn
        self._lock = threading.Lock()
        self.has_passed = False

    def shut_down(self) -> None:
        """End the connection for the thread that waits for an answer on it."""
        with self._lock:
            if self._conn is None or self._conn.closed:
                return
            self.has_passed = True
            with socket.socket(fileno=os.dup(self._conn.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)

    def cancel(self) -> None:
        with self._lock:
            self._conn = None


def _connection_class(note: Callable[[psycopg.Error | None], None]) -> type[Connection]:
    """Return a class of connections that tell `note` why connecting failed, or None when it did not."""

    class NotingConnection(psycopg.Connection[tuple[Any, ...]]):
        @classmethod
        def connect(cls, conninfo: str = "", **options: Any) -> Self:
            try:
                conn = super().connect(conninfo, **options)
            except psycopg.Error as exc:
                note(exc)
                raise
            note(None)
            return conn

    return NotingConnection


def _configure(conn: Connection) -> None:
    prepare_session(conn, TIMEOUTS)
    conn.commit()


def _most_attempts(exc: psycopg.Error) -> int:
    """Return how many attempts are worthwhile; a mistake of ours fails each time."""
    if is_contended(exc) or exc.sqlstate in OVERTAKEN:
        return CONTENDED_TRIES
    return LOST_TRIES if is_lost(exc) else 1


def retry_until_stored(write: Callable[[], T], *, stop: threading.Event, event: str, **log_values: int) -> T:
    """Call `write` until PostgreSQL takes it, and return its result; log `event` after each failure.

    Raises StoreUnavailable only once `stop` is set.
    """
    while True:
        try:
            return write()
        except StoreUnavailable as exc:
            log.warning(event, reason=str(exc), **log_values)
            if stop.wait(AGAIN_SECONDS):
                raise
