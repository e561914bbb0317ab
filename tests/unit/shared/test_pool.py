"""Errors of PostgreSQL are lost connections, contention, other outages, or our own mistakes."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import PoolTimeout

from shared.db.core.pool import is_contended, is_lost, is_unavailable


@pytest.mark.parametrize(
    ("error", "lost", "contended", "unavailable"),
    [
        # libpq reports a broken connection without a SQLSTATE
        (psycopg.OperationalError("server closed the connection unexpectedly"), True, False, True),
        (errors.AdminShutdown(), True, False, True),
        (errors.CannotConnectNow(), True, False, True),
        (errors.IdleInTransactionSessionTimeout(), True, False, True),
        (errors.ConnectionFailure(), True, False, True),
        # All connections are in use, so another try would wait as long again
        (PoolTimeout(), False, False, True),
        (errors.DeadlockDetected(), False, True, True),
        (errors.SerializationFailure(), False, True, True),
        (errors.LockNotAvailable(), False, False, True),
        (errors.QueryCanceled(), False, False, True),
        (errors.DiskFull(), False, False, True),
        (errors.TooManyConnections(), False, False, True),
        (errors.ReadOnlySqlTransaction(), False, False, True),
        # The statement or its values are wrong, and stay wrong
        (errors.UniqueViolation(), False, False, False),
        (errors.UntranslatableCharacter(), False, False, False),
        (errors.UndefinedTable(), False, False, False),
        (psycopg.ProgrammingError("the query has 1 placeholder but 2 parameters"), False, False, False),
        (ValueError("a bug"), False, False, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_errors_are_classified(error: Exception, lost: bool, contended: bool, unavailable: bool) -> None:
    assert (is_lost(error), is_contended(error), is_unavailable(error)) == (lost, contended, unavailable)
