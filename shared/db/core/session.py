"""One connection for one command, and writes that wait until PostgreSQL is back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import psycopg
import structlog

from shared.db.core.pool import is_unavailable
from shared.errors import MailroomError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.db.core.pool import Connection


#: Seconds between two tries of a write while PostgreSQL is away.
AGAIN_SECONDS = 0.5
T = TypeVar("T")
log = structlog.get_logger()


class NotMigrated(MailroomError):
    """The database lacks tables or columns of this release; run `mailroom migrate`."""

    code = "not_migrated"


@contextmanager
def session(database_url: str) -> Iterator[Connection]:
    """Connect for one command. Each statement is its own transaction, except inside `conn.transaction()`.

    Raises StoreUnavailable, NotMigrated.
    """
    with (
        operator_errors(),
        psycopg.connect(database_url, autocommit=True, application_name="mailroom command", connect_timeout=5) as conn,
    ):
        yield conn


@contextmanager
def operator_errors() -> Iterator[None]:
    """Turn the errors of psycopg that an operator can repair into StoreUnavailable or NotMigrated."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as exc:
        raise NotMigrated("the database does not have the tables of this release; run `mailroom migrate`") from exc
    except psycopg.Error as exc:
        if not is_unavailable(exc):
            raise
        raise StoreUnavailable(f"PostgreSQL does not answer ({_reason(exc)}); check DATABASE_URL") from exc


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


def _reason(exc: psycopg.Error) -> str:
    """Return the server's message, or libpq's first line: it names host and port, never the password."""
    lines = str(exc).splitlines()
    return exc.diag.message_primary or (lines[0] if lines else type(exc).__name__)
