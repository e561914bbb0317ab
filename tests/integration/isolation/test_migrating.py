"""Migrations run beside processes that work: they wait for them in short pieces, and say what is in the way."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg
import pytest

from bench.harness.processes import wait_until
from shared.db.migrate import Migration, MigrationBlocked, MigrationRefused, apply

#: Takes what workers take, in the other order.
BACKWARDS = Migration(
    name="9999_backwards",
    sql="ALTER TABLE actions ADD COLUMN shade text; ALTER TABLE tasks ADD COLUMN shade text;",
)
WAITING = "SELECT count(*) FROM pg_locks WHERE relation = 'tasks'::regclass AND NOT granted"
WAITS = 60.0


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def applied(conn: psycopg.Connection) -> bool:
    return conn.execute("SELECT 1 FROM schema_migrations WHERE name = %s", (BACKWARDS.name,)).fetchone() is not None


def waits(conn: psycopg.Connection) -> bool:
    return wait_until(lambda: conn.execute(WAITING).fetchone() == (1,), WAITS)


def held(conn: psycopg.Connection) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE relation = 'tasks'::regclass AND granted"
    return wait_until(lambda: conn.execute(query).fetchone() == (1,), WAITS)


def in_the_background(pool: ThreadPoolExecutor, database: str) -> Future[None]:
    def run() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            apply(own, BACKWARDS)

    return pool.submit(run)


def test_a_worker_and_a_migration_that_wait_for_each_other_both_come_through(
    database: str, conn: psycopg.Connection
) -> None:
    """One of the two is rolled back by PostgreSQL, and tries again."""

    def work() -> None:
        with psycopg.connect(database) as worker:
            worker.execute("UPDATE tasks SET code = code")
            assert waits(conn)
            try:
                worker.execute("UPDATE actions SET reason = reason")
            except psycopg.errors.DeadlockDetected:
                worker.rollback()

    with ThreadPoolExecutor() as pool:
        working = pool.submit(work)
        assert held(conn)
        migrating = in_the_background(pool, database)
        working.result(WAITS)
        migrating.result(WAITS)
    assert applied(conn)


def test_live_work_goes_on_while_a_migration_waits_for_a_long_transaction(
    database: str, conn: psycopg.Connection
) -> None:
    with ThreadPoolExecutor() as pool, psycopg.connect(database) as reader:
        reader.execute("SELECT count(*) FROM tasks")
        migrating = in_the_background(pool, database)
        assert waits(conn)
        conn.execute("SET lock_timeout = '20s'")
        conn.execute("UPDATE tasks SET code = code")  # behind the migration, until that lets go for a moment
        assert not applied(conn)
        reader.rollback()
        migrating.result(WAITS)
    assert applied(conn)


def test_what_is_held_for_too_long_is_said_and_nothing_is_half_done(database: str, conn: psycopg.Connection) -> None:
    with psycopg.connect(database) as reader:
        reader.execute("SELECT count(*) FROM tasks")
        with pytest.raises(MigrationBlocked, match="9999_backwards did not get its locks"):
            apply(conn, BACKWARDS, tries=1)
    assert not applied(conn)
    assert conn.execute("SELECT 1 FROM pg_attribute WHERE attname = 'shade'").fetchone() is None


def test_rows_that_do_not_fit_are_named(conn: psycopg.Connection) -> None:
    conn.execute("INSERT INTO tenants (name, company_id) VALUES ('Acme', 'cmp_acme')")
    stricter = Migration(name="9999_stricter", sql="ALTER TABLE tenants ADD CHECK (name <> 'Acme')")
    with pytest.raises(MigrationRefused, match="rows stand against 9999_stricter"):
        apply(conn, stricter)
