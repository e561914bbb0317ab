"""Sessions of commands, outside any pool, and the wait for a schema that this release can work on."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import structlog

from shared.db.core import advice, connect, reason_of
from shared.db.core.migrate import require_current
from shared.db.core.pool import SAID_AGAIN_SECONDS, Connection, is_unavailable
from shared.errors import ConfigurationError, MailroomError, NotMigrated, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA_CHECK_SECONDS = 1.0
log = structlog.get_logger()


class NotPermitted(MailroomError):
    """The role in DATABASE_URL lacks a right in the database."""

    code = "not_permitted"


@contextmanager
def session(database_url: str) -> Iterator[Connection]:
    """Connect for one command. Each statement is its own transaction, except inside `conn.transaction()`.

    Raises StoreUnavailable, NotMigrated, NotPermitted, ConfigurationError.
    """
    with (
        operator_errors(),
        connect(database_url, application_name="mailroom command", connect_timeout=5) as conn,
    ):
        yield conn


@contextmanager
def operator_errors() -> Iterator[None]:
    """Turn the errors of psycopg that an operator can repair into errors with one line of text.

    Raises StoreUnavailable, NotMigrated, NotPermitted, ConfigurationError.
    """
    try:
        yield
    except (
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.UndefinedFunction,
        psycopg.errors.UndefinedObject,
    ) as exc:
        raise NotMigrated("the database does not have the tables of this release; run `mailroom migrate`") from exc
    except psycopg.errors.InsufficientPrivilege as exc:
        raise NotPermitted(
            f"the role in DATABASE_URL lacks a right ({reason_of(exc)}); GRANT it, or use the role that ran `mailroom "
            "migrate`"
        ) from exc
    except psycopg.Error as exc:
        if "statement pooling mode" in str(exc):
            raise ConfigurationError(
                "DATABASE_URL: leads to a PgBouncer in statement mode, which has no transactions; set its pool_mode to "
                "transaction or session"
            ) from exc
        if not is_unavailable(exc):
            raise
        reason = reason_of(exc)
        raise StoreUnavailable(f"PostgreSQL does not answer ({reason}); {advice(reason)}") from exc


def wait_until_current(database_url: str, wait: Callable[[float], bool | None]) -> bool:
    """Return True once this release can work on the schema, and False when `wait(seconds)` says that it is to stop.

    Says in the log what it waits for, when that changes and once a minute.
    """
    said, said_at = "", 0.0
    while True:
        try:
            with session(database_url) as conn:
                require_current(conn)
                return True
        except StoreUnavailable as exc:
            if str(exc) != said or time.monotonic() - said_at > SAID_AGAIN_SECONDS:
                said, said_at = str(exc), time.monotonic()
                log.warning("start_waits", code=exc.code, reason=said)
        if wait(SCHEMA_CHECK_SECONDS):
            return False
