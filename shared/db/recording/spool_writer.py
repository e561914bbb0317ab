"""The door's way into the spool: one connection, opened when Redis is away, and once for a look at the schema."""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from shared.db.core import advice, connect, is_pooled, reason_of, set_local
from shared.db.recording import spool
from shared.errors import NotMigrated, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import Connection

    from shared.models import Delivery

# The server and the kernel keep these timeouts. A stopped server keeps none, so AsyncSpool counts for itself.
CONNECT_SECONDS = 2  # the least that libpq knows
VANISHED_MS = 3000  # without a word from the other machine's kernel
TIMEOUTS = "SET statement_timeout = '2s'; SET lock_timeout = '500ms'"


def load() -> None:
    """Load psycopg now: on a busy machine that takes longer than the first delivery for the spool may wait."""
    import psycopg  # noqa: F401, PLC0415 - the door's code comes without it

    import shared.db.core.migrate  # noqa: F401, PLC0415 - as above


class SpoolConnection:
    """Keeps deliveries in PostgreSQL. Raises StoreUnavailable for all of them or keeps all. For one thread."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._conn: Connection | None = None
        self._given_up = False

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Keep all of `deliveries`."""
        self._do(lambda conn: spool.add(conn, deliveries))

    def check(self) -> None:
        """Raise unless `put` would work now."""
        self._do(spool.check_writable)

    def check_schema(self) -> None:
        """Raise NotMigrated or SchemaTooNew unless the recorder can work on the schema. Leaves no connection behind."""
        from shared.db.core.migrate import require_current  # noqa: PLC0415 - as above

        reused = self._conn is not None
        try:
            self._do(require_current)
        finally:
            if not reused:
                self.close()

    def _do(self, work: Callable[[Connection], None]) -> None:
        import psycopg  # noqa: PLC0415 - as above

        reused, self._given_up = self._conn is not None, False
        try:
            self._work(self._conn or self._connect(), work)
        except psycopg.Error as exc:
            lost = self._conn is not None and self._conn.broken
            self.close()
            if reused and lost and not self._given_up:  # the server restarted since: try it on a connection of now
                self._do(work)
                return
            reason = reason_of(exc)
            if isinstance(exc, psycopg.errors.UndefinedTable):
                raise NotMigrated(f"PostgreSQL did not keep the delivery ({reason}); run `mailroom migrate`") from exc
            raise StoreUnavailable(f"PostgreSQL did not keep the delivery ({reason}); {advice(reason)}") from exc

    def _connect(self) -> Connection:
        self._conn = connect(
            self._database_url,
            application_name="mailroom door",
            timeouts=TIMEOUTS,
            connect_timeout=CONNECT_SECONDS,
            tcp_user_timeout=VANISHED_MS,
        )
        return self._conn

    @staticmethod
    def _work(conn: Connection, work: Callable[[Connection], None]) -> None:
        if is_pooled(conn):
            with conn.transaction():
                set_local(conn, TIMEOUTS)
                work(conn)
        else:
            work(conn)

    def give_up(self) -> None:
        """Have the call that hangs in another thread fail now: a stopped server would keep that thread for ever."""
        self._given_up = True
        if self._conn is not None:
            # The other thread may just have closed it.
            with suppress(Exception), socket.socket(fileno=os.dup(self._conn.fileno())) as connection:
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None


class AsyncSpool:
    """The same for an event loop, each call within `seconds`.

    The connection has one thread. While that is busy no other is started: callers give up in time, and a call that has
    not begun by then never does.
    """

    def __init__(self, connection: SpoolConnection, *, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(1, "spool")

    async def put(self, deliveries: Sequence[Delivery]) -> None:
        """Keep all of `deliveries`; when time ran out, they may be kept later all the same."""
        await self._within(partial(self._connection.put, deliveries))

    async def check(self) -> None:
        """Raise unless `put` would work now."""
        await self._within(self._connection.check)

    async def check_schema(self) -> None:
        """Raise NotMigrated or SchemaTooNew unless the recorder can work on the schema."""
        await self._within(self._connection.check_schema)

    async def _within(self, work: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except TimeoutError:
            self._connection.give_up()
            raise StoreUnavailable(f"PostgreSQL did not answer within {self._seconds} s") from None


def open_async_spool(database_url: str, *, seconds: float) -> AsyncSpool:
    """The spool at DATABASE_URL for an event loop. Connects when first used."""
    return AsyncSpool(SpoolConnection(database_url), seconds=seconds)
