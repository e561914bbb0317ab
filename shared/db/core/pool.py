"""The connections to PostgreSQL that the threads of one process share."""

from __future__ import annotations

import itertools
import os
import random
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.settings import Settings


T = TypeVar("T")
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

WAIT_FOR_CONNECTION = 5.0  # seconds
# psycopg_pool doubles its pause after each failed connection, up to minutes: an outage would last up to twice as long
# for us. Given up this early, the next caller starts a new connection at once.
RECONNECT_SECONDS = 2.0
TIMEOUTS = "SET lock_timeout = '5s'; SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '30s'"
# A host that vanished is noticed after a minute; on a Unix socket libpq ignores these.
KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
LOST = ("08", "57P01", "57P02", "57P03", "57P05", "25P03")  # the session is gone; another one may do
CONTENDED = ("40001", "40P01")  # the server chose this transaction to give way to another
BUSY = ("53", "55P03", "57014", "25006")  # full, locked for longer than we wait, too slow, or a standby
OVERTAKEN = ("23503",)  # a row that was read is gone by now: what is read again does not name it
LOST_TRIES = 2
CONTENDED_TRIES = 5


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


class Pool:
    """Up to `size` connections, opened when first needed; safe to use from many threads.

    `longest`: seconds after which a transaction is given up, even if the server is stopped and keeps to no timeout.
    """

    def __init__(self, database_url: str, *, size: int, application_name: str, longest: float | None = None) -> None:
        self._longest = longest
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            database_url,
            kwargs={"application_name": application_name, "connect_timeout": 5, **KEEPALIVES},
            min_size=1,
            max_size=size,
            timeout=WAIT_FOR_CONNECTION,
            reconnect_timeout=RECONNECT_SECONDS,
            configure=_configure,
            name=application_name,
            open=True,
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection; commit at the end, roll back on an exception.

        Raises StoreUnavailable when PostgreSQL is away or too busy; other errors of psycopg pass as they are.
        """
        with _translated():
            try:
                with self._lent() as conn:
                    yield conn
            except psycopg.Error as exc:
                if is_lost(exc):
                    self._pool.check()
                raise

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in one transaction, again if the connection was lost, others came first, or a row it names is gone.

        The answer to a commit may be lost after it happened: `work` must be safe to repeat.
        """
        return self._repeated(work, self._once)

    def run_alone(self, work: Callable[[Connection], T]) -> T:
        """As `run`, but each statement is a transaction of its own, which nobody has to begin and to end.

        Where transactions have a `longest`, it is one that does.
        """
        return self._repeated(work, self._each_alone if self._longest is None else self._once)

    def _repeated(self, work: Callable[[Connection], T], do: Callable[[Callable[[Connection], T]], T]) -> T:
        with _translated():
            for tried in itertools.count(1):
                try:
                    return do(work)
                except psycopg.Error as exc:
                    if tried >= _tries(exc):
                        raise
                    self._before_another(exc, tried)
        raise AssertionError("counting has no end")

    def close(self) -> None:
        """Close every connection; those in use are closed when given back."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _once(self, work: Callable[[Connection], T]) -> T:
        with self._lent() as conn:
            return work(conn)

    def _each_alone(self, work: Callable[[Connection], T]) -> T:
        with self._lent() as conn:
            conn.autocommit = True
            try:
                return work(conn)
            finally:
                if not conn.closed:
                    conn.autocommit = False

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        with self._pool.connection() as conn:
            if self._longest is None:
                yield conn
            else:
                with transaction_within(conn, self._longest):
                    yield conn

    def _before_another(self, exc: psycopg.Error, tried: int) -> None:
        if is_lost(exc):
            self._pool.check()  # when one connection is lost, all are: without this each would fail one more caller
        else:
            time.sleep(random.uniform(0, 0.02 * 2**tried))  # noqa: S311 - a pause


def open_pool(settings: Settings, *, size: int, application_name: str, longest: float | None = None) -> Pool:
    """Open a pool on DATABASE_URL. Returns at once, even while PostgreSQL is away."""
    return Pool(settings.database_url.get_secret_value(), size=size, application_name=application_name, longest=longest)


def is_lost(exc: BaseException) -> bool:
    """Whether the session is gone, so that the same on another connection may succeed."""
    if not isinstance(exc, psycopg.Error) or isinstance(exc, PoolTimeout):
        return False
    if exc.sqlstate is None:
        return isinstance(exc, psycopg.OperationalError)
    return exc.sqlstate.startswith(LOST)


def is_contended(exc: BaseException) -> bool:
    """Whether the server rolled this transaction back for the sake of another."""
    return isinstance(exc, psycopg.Error) and exc.sqlstate in CONTENDED


def is_away(exc: BaseException) -> bool:
    """Whether waiting helps: nothing is wrong with the statement or its values."""
    busy = isinstance(exc, psycopg.Error) and (exc.sqlstate or "").startswith(BUSY)
    return busy or isinstance(exc, PoolTimeout) or is_lost(exc) or is_contended(exc)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as exc:
        if not is_away(exc):
            raise
        reason = exc.diag.message_primary or type(exc).__name__
        raise StoreUnavailable(f"PostgreSQL did not take the transaction ({reason}); check DATABASE_URL") from exc


def _configure(conn: Connection) -> None:
    conn.execute(TIMEOUTS)
    conn.commit()


def _tries(exc: psycopg.Error) -> int:
    """How often in all it is worth while: where others were faster it may succeed, a mistake of ours fails again."""
    if is_contended(exc) or exc.sqlstate in OVERTAKEN:
        return CONTENDED_TRIES
    return LOST_TRIES if is_lost(exc) else 1
