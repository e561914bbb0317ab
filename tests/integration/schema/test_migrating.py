"""Migrations run beside working processes: they wait for locks in short pieces, and name the blocking session.

They refuse a database that they cannot upgrade.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from bench.harness.processes import wait_until
from shared.db.core.migrate import (
    FIRST,
    Migration,
    MigrationBlocked,
    MigrationChanged,
    MigrationRefused,
    apply,
    migrate,
)

#: Takes the locks of workers in the opposite order.
BACKWARDS = Migration(
    name="9999_backwards",
    sql="ALTER TABLE actions ADD COLUMN shade text; ALTER TABLE tasks ADD COLUMN shade text;",
)
WAITING = "SELECT count(*) FROM pg_locks WHERE relation = 'tasks'::regclass AND NOT granted"
WAITS = 60.0


def applied(conn: psycopg.Connection[Any]) -> bool:
    return conn.execute("SELECT 1 FROM schema_migrations WHERE name = %s", (BACKWARDS.name,)).fetchone() is not None


def waits(conn: psycopg.Connection[Any]) -> bool:
    return wait_until(lambda: conn.execute(WAITING).fetchone() == (1,), WAITS)


def held(conn: psycopg.Connection[Any]) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE relation = 'tasks'::regclass AND granted"
    return wait_until(lambda: conn.execute(query).fetchone() == (1,), WAITS)


def in_the_background(pool: ThreadPoolExecutor, database: str) -> Future[None]:
    def run() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            apply(own, BACKWARDS)

    return pool.submit(run)


def test_a_worker_and_a_migration_that_wait_for_each_other_both_come_through(
    database: str, conn: psycopg.Connection[Any]
) -> None:
    """PostgreSQL rolls one of the two back, and that one tries again."""

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
    database: str, conn: psycopg.Connection[Any]
) -> None:
    with ThreadPoolExecutor() as pool, psycopg.connect(database) as reader:
        reader.execute("SELECT count(*) FROM tasks")
        migrating = in_the_background(pool, database)
        assert waits(conn)
        conn.execute("SET lock_timeout = '20s'")
        conn.execute("UPDATE tasks SET code = code")  # waits behind the migration until its lock timeout
        assert not applied(conn)
        reader.rollback()
        migrating.result(WAITS)
    assert applied(conn)


def test_a_migration_without_its_locks_fails_and_leaves_nothing_half_done(
    database: str, conn: psycopg.Connection[Any]
) -> None:
    with psycopg.connect(database) as reader:
        reader.execute("SELECT count(*) FROM tasks")
        with pytest.raises(MigrationBlocked, match="9999_backwards did not get its locks"):
            apply(conn, BACKWARDS, tries=1)
    assert not applied(conn)
    assert conn.execute("SELECT 1 FROM pg_attribute WHERE attname = 'shade'").fetchone() is None


def test_rows_that_do_not_fit_are_named(conn: psycopg.Connection[Any]) -> None:
    conn.execute("INSERT INTO tenants (name, company_id) VALUES ('Acme', 'cmp_acme')")
    stricter = Migration(name="9999_stricter", sql="ALTER TABLE tenants ADD CHECK (name <> 'Acme')")
    with pytest.raises(MigrationRefused, match="rows violate 9999_stricter"):
        apply(conn, stricter)


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_database_of_a_development_version_is_refused_and_left_as_it_is(
    database: str, conn: psycopg.Connection[Any], *, dry_run: bool
) -> None:
    """Those versions had 24 migrations, and the first one has the same name as ours."""
    conn.execute("UPDATE schema_migrations SET checksum = 'of another file'")
    conn.execute("DELETE FROM schema_migrations WHERE name <> %s", (FIRST,))
    conn.execute("INSERT INTO schema_migrations (name, checksum) VALUES ('0002_lanes', 'of a file that is gone')")
    before = conn.execute("SELECT name FROM schema_migrations").fetchall()
    with pytest.raises(MigrationChanged, match=r"0001_initial .* cannot be upgraded: delete the folder \.mailroom"):
        migrate(database, dry_run=dry_run)
    assert conn.execute("SELECT name FROM schema_migrations").fetchall() == before
