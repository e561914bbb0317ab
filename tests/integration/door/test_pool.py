"""The connection pool against a real PostgreSQL that ends sessions, holds locks and breaks deadlocks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from shared.db.core.pool import Connection, Pool
from shared.errors import StoreUnavailable
from tests.integration.door.door_process import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.up.embedded import Postgres


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    with Pool(database, size=4, application_name="pool-test") as pool:
        pool.run(lambda conn: conn.execute("CREATE TABLE numbers (n int PRIMARY KEY, v int DEFAULT 0)"))
        pool.run(lambda conn: conn.execute("INSERT INTO numbers VALUES (1), (2)"))
        yield pool


def end_all_sessions(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pool-test'")


def select_one(conn: Connection) -> int:
    row = conn.execute("SELECT 1").fetchone()
    assert row is not None
    return int(row[0])


def test_a_transaction_is_committed_at_the_end(pool: Pool) -> None:
    with pool.transaction() as conn:
        conn.execute("INSERT INTO numbers VALUES (3)")
    assert pool.run(lambda conn: conn.execute("SELECT count(*) FROM numbers").fetchone()) == (3,)


def test_a_transaction_is_rolled_back_by_an_exception(pool: Pool) -> None:
    def insert_and_fail() -> None:
        with pool.transaction() as conn:
            conn.execute("INSERT INTO numbers VALUES (3)")
            raise KeyError

    with pytest.raises(KeyError):
        insert_and_fail()
    assert pool.run(lambda conn: conn.execute("SELECT count(*) FROM numbers").fetchone()) == (2,)


def test_every_thread_survives_the_loss_of_all_connections(pool: Pool, database: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        barrier = threading.Barrier(4)
        list(threads.map(lambda _: pool.run(lambda conn: (barrier.wait(5), select_one(conn))), range(4)))
        end_all_sessions(database)
        assert list(threads.map(lambda _: pool.run(select_one), range(4))) == [1, 1, 1, 1]


def test_a_connection_lost_inside_a_transaction_is_store_unavailable(pool: Pool, database: str) -> None:
    def lose_the_session() -> None:
        with pool.transaction() as conn:
            end_all_sessions(database)
            select_one(conn)

    with pytest.raises(StoreUnavailable):
        lose_the_session()
    assert pool.run(select_one) == 1


def test_both_sides_of_a_deadlock_are_done(pool: Pool) -> None:
    both_hold_one = threading.Barrier(2)

    def add(first: int, second: int) -> None:
        tries: list[int] = []

        def work(conn: Connection) -> None:
            tries.append(1)
            conn.execute("SET LOCAL deadlock_timeout = '50ms'")
            conn.execute("UPDATE numbers SET v = v + 1 WHERE n = %s", (first,))
            if len(tries) == 1:
                both_hold_one.wait(5)
            conn.execute("UPDATE numbers SET v = v + 1 WHERE n = %s", (second,))

        pool.run(work)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(add, (1, 2), (2, 1)))
    assert pool.run(lambda conn: conn.execute("SELECT n, v FROM numbers ORDER BY n").fetchall()) == [(1, 2), (2, 2)]


def test_an_error_in_what_we_sent_keeps_its_name(pool: Pool) -> None:
    with pytest.raises(errors.UniqueViolation):
        pool.run(lambda conn: conn.execute("INSERT INTO numbers VALUES (1)"))


def test_waiting_for_a_lock_ends_in_store_unavailable(pool: Pool) -> None:
    def read(conn: Connection) -> None:
        conn.execute("SET LOCAL lock_timeout = '20ms'")
        conn.execute("SELECT * FROM numbers")

    with pool.transaction() as holder:
        holder.execute("LOCK TABLE numbers")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            pool.run(read)


@pytest.mark.parametrize("name", ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"])
def test_a_session_has_its_deadlines(pool: Pool, name: str) -> None:
    row = pool.run(lambda conn: conn.execute(f"SHOW {name}").fetchone())
    assert row in {("5s",), ("30s",)}


def test_opening_does_not_wait_for_an_absent_server() -> None:
    with Pool("postgresql://nobody@127.0.0.1:1/none", size=1, application_name="absent"):
        pass


def test_a_stopped_server_is_given_up_and_used_again_when_it_goes_on(own_postgres: Postgres) -> None:
    with Pool(own_postgres.url_of("postgres"), size=2, application_name="pool-test", max_seconds=3.0) as pool:
        assert pool.run(select_one) == 1
        with frozen(own_postgres), pytest.raises(StoreUnavailable, match="did not answer within 3 s"):
            pool.run(select_one)
        assert pool.run(select_one) == 1


def test_a_transaction_that_takes_too_long_is_rolled_back(own_postgres: Postgres) -> None:
    with Pool(own_postgres.url_of("postgres"), size=2, application_name="pool-test", max_seconds=3.0) as pool:
        pool.run(lambda conn: conn.execute("CREATE TABLE numbers (n int)"))
        with pytest.raises(StoreUnavailable):
            pool.run(lambda conn: (conn.execute("INSERT INTO numbers VALUES (1)"), conn.execute("SELECT pg_sleep(60)")))
        assert pool.run(lambda conn: conn.execute("SELECT count(*) FROM numbers").fetchone()) == (0,)


def test_an_error_of_ours_is_not_taken_for_a_silence(own_postgres: Postgres) -> None:
    with Pool(own_postgres.url_of("postgres"), size=2, application_name="pool-test", max_seconds=60.0) as pool:
        with pytest.raises(errors.UndefinedTable):
            pool.run(lambda conn: conn.execute("SELECT FROM nothing"))
        assert pool.run(select_one) == 1


def test_a_single_statement_survives_a_later_error(pool: Pool) -> None:
    def insert_and_fail(conn: Connection) -> None:
        conn.execute("INSERT INTO numbers VALUES (3)")
        raise KeyError

    with pytest.raises(KeyError):
        pool.run_autocommit(insert_and_fail)
    assert pool.run(lambda conn: conn.execute("SELECT count(*) FROM numbers").fetchone()) == (3,)


def test_a_connection_opens_a_transaction_again_after_a_single_statement(pool: Pool) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: pool.run_autocommit(select_one), range(20)))
        assert set(threads.map(lambda _: pool.run(lambda conn: conn.autocommit), range(20))) == {False}


def test_a_statement_alone_survives_the_loss_of_all_connections(pool: Pool, database: str) -> None:
    assert pool.run_autocommit(select_one) == 1
    end_all_sessions(database)
    assert pool.run_autocommit(select_one) == 1
