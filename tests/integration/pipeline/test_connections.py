"""PostgreSQL has no connection left: each part says so, and pools that are idle leave theirs to others."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import conninfo
from structlog.testing import capture_logs

from bench.harness.processes import wait_until
from shared.db.core import is_full, pool
from shared.db.core.locks import RECORDER, Role
from shared.db.core.pool import Pool
from shared.db.core.session import session
from shared.db.recording.spool_writer import SpoolConnection
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CAUSE = r"too many connections for role .*raise max_connections, or lower WORKER_THREADS"


@pytest.fixture
def exhausted(database: str) -> Iterator[str]:
    """The URL of a role that has all its connections in use."""
    with psycopg.connect(database, autocommit=True) as conn, ExitStack() as stack:
        conn.execute("DROP ROLE IF EXISTS crowded; CREATE ROLE crowded LOGIN CONNECTION LIMIT 1")
        url = conninfo.make_conninfo(database, user="crowded")
        stack.enter_context(psycopg.connect(url))
        yield url


def try_pool(url: str) -> None:
    with Pool(url, size=2, application_name="worker@test:1") as full:
        full.run(lambda conn: conn.execute("SELECT 1"))


def try_role(url: str) -> None:
    with Role(url, RECORDER, process="recorder").held():
        pytest.fail("no role without a connection")


def try_session(url: str) -> None:
    with session(url):
        pytest.fail("no connection is left")


def try_spool(url: str) -> None:
    SpoolConnection(url).check()


@pytest.mark.parametrize("use", [try_pool, try_role, try_session, try_spool])
def test_the_cause_is_said_with_what_to_do(
    use: Callable[[str], None], exhausted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WAIT_FOR_CONNECTION", 1.0)
    with capture_logs() as logs, pytest.raises(StoreUnavailable, match=CAUSE):
        use(exhausted)
    lines = [line for line in logs if line["event"] == "connections_exhausted"]
    assert [line["log_level"] for line in lines] == (["error"] if use is try_pool else [])


def test_a_pool_whose_own_connections_are_all_in_use_says_that(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "WAIT_FOR_CONNECTION", 0.5)
    with (
        Pool(database, size=1, application_name="worker@test:1") as small,
        small.transaction(),
        pytest.raises(StoreUnavailable, match="all 1 connections of this process are in use"),
    ):
        small.run(lambda conn: conn.execute("SELECT 1"))


@pytest.mark.parametrize(
    "text",
    [
        "sorry, too many clients already",
        "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        "remaining connection slots are reserved for non-replication superuser connections",
        'too many connections for role "mailroom"',
        'too many connections for database "mailroom"',
        "no more connections allowed (max_client_conn)",
    ],
)
def test_each_refusal_of_a_connection_is_known(text: str) -> None:
    assert is_full(text)


def test_an_idle_pool_shrinks_to_one_connection(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.2)
    together = threading.Barrier(4)

    with psycopg.connect(database, autocommit=True) as conn, Pool(database, size=4, application_name="busy") as busy:

        def count() -> int:
            row = conn.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'busy'").fetchone()
            return int(row[0]) if row else 0

        threads = [threading.Thread(target=lambda: busy.run(lambda _: together.wait(10))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert count() == 4
        assert wait_until(lambda: count() == 1, 10.0)
