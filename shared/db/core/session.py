"""One connection for one command."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import psycopg
import structlog

from shared.db.core.pool import is_away
from shared.errors import MailroomError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.db.core.pool import Connection


#: Between two tries while PostgreSQL is away.
AGAIN_SECONDS = 0.5
T = TypeVar("T")
log = structlog.get_logger()


class NotMigrated(MailroomError):
    """The database lacks tables or columns of this release; run `mailroom migrate`."""

    code = "not_migrated"


@contextmanager
def session(database_url: str) -> Iterator[Connection]:
    """Connect for the length of a command, each statement its own transaction unless `conn.transaction()` says more."""
    with (
        told_to_operator(),
        psycopg.connect(database_url, autocommit=True, application_name="mailroom command", connect_timeout=5) as conn,
    ):
        yield conn


@contextmanager
def told_to_operator() -> Iterator[None]:
    """Raise StoreUnavailable or NotMigrated for what the operator can mend."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as exc:
        raise NotMigrated("the database does not have the tables of this release; run `mailroom migrate`") from exc
    except psycopg.Error as exc:
        if not is_away(exc):
            raise
        raise StoreUnavailable(f"PostgreSQL does not answer ({_reason(exc)}); check DATABASE_URL") from exc


def _reason(exc: psycopg.Error) -> str:
    """The server's words, or libpq's first line: it names host and port, never the password."""
    lines = str(exc).splitlines()
    return exc.diag.message_primary or (lines[0] if lines else type(exc).__name__)


def persist(write: Callable[[], T], *, stop: threading.Event, event: str, **named: int) -> T:
    """What `write` returns; `event` is logged with each failure. Raises StoreUnavailable only when asked to stop."""
    while True:
        try:
            return write()
        except StoreUnavailable as exc:
            log.warning(event, reason=str(exc), **named)
            if stop.wait(AGAIN_SECONDS):
                raise
