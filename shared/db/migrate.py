"""Brings the schema up to date: numbered SQL files, each in one transaction, under one lock."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import TupleRow

from shared.errors import MailroomError

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x6D61696C  # "mail": advisory, so that two releases at once take turns


class MigrationChanged(MailroomError):
    """A file that was applied before now reads differently; write a new migration instead."""

    code = "migration_changed"


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One numbered SQL file."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Tells whether the file still is what was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known(folder: Path = MIGRATIONS) -> list[Migration]:
    """Every migration of this release, in order."""
    return [Migration(name=path.stem, sql=path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))]


def pending(conn: psycopg.Connection[TupleRow], migrations: list[Migration]) -> list[Migration]:
    """Those not yet applied. Raises MigrationChanged when an applied file was edited."""
    if conn.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone() != (True,):
        return migrations
    applied = {str(name): str(sum_) for name, sum_ in conn.execute("SELECT name, checksum FROM schema_migrations")}
    for migration in migrations:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise MigrationChanged(f"{migration.name} was applied with other content; undo the edit and add a new file")
    return [migration for migration in migrations if migration.name not in applied]


def migrate(database_url: str, *, dry_run: bool = False) -> list[Migration]:
    """Apply what is missing and return it; with `dry_run` only return it."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        todo = pending(conn, known())
        if not dry_run:
            for migration in todo:
                _apply(conn, migration)
        return todo


def _apply(conn: psycopg.Connection[TupleRow], migration: Migration) -> None:
    with conn.transaction():
        conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        conn.execute(migration.sql.encode())
        conn.execute(
            "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", (migration.name, migration.checksum)
        )
