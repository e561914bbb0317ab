"""Log-ins that bind an OpenID identity at the same moment: each ends in a session or in a clear refusal."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from console.operations.accounts import IdentityUnknown, NewSession, log_in_with_identity
from console.operations.audited import in_transaction
from shared.db.accounts import accounts
from shared.openid import OpenIdIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.db.accounts.accounts import Account

ISSUER = "https://accounts.example"
LOCK_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def log_in_meanwhile(database: str, before_commit: Callable[[psycopg.Connection], None], account_id: int) -> Account:
    """Let a log-in wait for a transaction that is open at the same moment, and return whom it logged in."""
    results: list[Account | Exception] = []

    def log_in() -> None:
        identity = OpenIdIdentity(issuer=ISSUER, subject="sub-1", email=None)
        with psycopg.connect(database, autocommit=True) as conn:
            try:
                session = NewSession(digest=b"secret", address=None)
                results.append(log_in_with_identity(in_transaction(conn), identity, session, account_id=account_id))
            except Exception as exc:  # noqa: BLE001 -- the test looks at whatever it is
                results.append(exc)

    with psycopg.connect(database, autocommit=True) as conn, psycopg.connect(database, autocommit=True) as watcher:
        with conn.transaction():
            before_commit(conn)
            thread = threading.Thread(target=log_in)
            thread.start()
            while thread.is_alive() and watcher.execute(LOCK_WAITS).fetchone() == (0,):
                thread.join(0.02)
        thread.join(30)
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


def add(conn: psycopg.Connection, name: str) -> int:
    return accounts.add(conn, email=f"{name}@example.com", name=name, role="viewer")


def test_an_identity_that_another_account_takes_meanwhile_is_refused(conn: psycopg.Connection, database: str) -> None:
    first, second = add(conn, "first"), add(conn, "second")
    with pytest.raises(IdentityUnknown) as refused:
        log_in_meanwhile(database, lambda own: _bind(own, first), account_id=second)
    assert refused.value.reason == "the identity is bound to another account"
    assert conn.execute("SELECT count(*) FROM console_sessions").fetchone() == (0,)


def test_two_first_log_ins_of_one_account_are_both_let_in(conn: psycopg.Connection, database: str) -> None:
    account = add(conn, "only")
    assert log_in_meanwhile(database, lambda own: _bind(own, account), account_id=account).id == account


def _bind(conn: psycopg.Connection, account_id: int) -> None:
    assert accounts.bind_identity(conn, account_id, issuer=ISSUER, subject="sub-1")
