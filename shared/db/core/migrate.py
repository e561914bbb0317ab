"""Brings the schema up to date: applies numbered SQL files, each in one transaction, under one lock.

Migrations only add. A change of the schema is a new file in `migrations/`, and the same change in `schema.sql`. Only
tests read `schema.sql`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.errors import DeadlockDetected, IntegrityError, LockNotAvailable
from psycopg.rows import TupleRow
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from shared.errors import MailroomError

MIGRATIONS = Path(__file__).parent.parent / "migrations"
FIRST = "0001_initial"
LOCK = 0x6D61696C  # "mail": an advisory lock, so that two releases at once take turns
#: Other processes queue behind a migration that waits for a lock. They give up after five seconds, the door after one.
LOCK_TIMEOUT = "2s"
TRIES = 30
PAUSE_SECONDS = 1.0


class MigrationChanged(MailroomError):
    """A file was changed after it was applied; write a new migration instead."""

    code = "migration_changed"


class MigrationBlocked(MailroomError):
    """A migration did not get its locks in minutes. The migrations applied before it stay."""

    code = "migration_blocked"


class MigrationRefused(MailroomError):
    """Rows violate a constraint of a migration, which was rolled back. The migrations applied before it stay."""

    code = "migration_refused"


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One numbered SQL file."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """The SHA-256 of the file, which shows whether it was changed after it was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known(folder: Path = MIGRATIONS) -> list[Migration]:
    """Return every migration of this release, in order."""
    return [Migration(name=path.stem, sql=path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))]


def pending(conn: psycopg.Connection[TupleRow], migrations: list[Migration]) -> list[Migration]:
    """Return the migrations not yet applied. Raises MigrationChanged when one was applied with other content."""
    if conn.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone() != (True,):
        return migrations
    applied = {
        str(name): str(checksum) for name, checksum in conn.execute("SELECT name, checksum FROM schema_migrations")
    }
    for migration in migrations:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise MigrationChanged(_how_to_repair(migration.name))
    return [migration for migration in migrations if migration.name not in applied]


def migrate(database_url: str, *, dry_run: bool = False) -> list[Migration]:
    """Apply the pending migrations and return them; with `dry_run` only return them.

    Raises MigrationChanged, MigrationBlocked, MigrationRefused.
    """
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        missing = pending(conn, known())
        if not dry_run:
            for migration in missing:
                apply(conn, migration)
        return missing


def apply(conn: psycopg.Connection[TupleRow], migration: Migration, *, tries: int = TRIES) -> None:
    """Apply one migration while other processes work: wait for its locks in short turns.

    Raises MigrationBlocked, MigrationRefused.
    """
    retrying = Retrying(
        retry=retry_if_exception_type((DeadlockDetected, LockNotAvailable)),
        stop=stop_after_attempt(tries),
        wait=wait_random(0, 2 * PAUSE_SECONDS),
        reraise=True,
    )
    try:
        retrying(_apply, conn, migration)
    except (DeadlockDetected, LockNotAvailable) as exc:
        raise MigrationBlocked(
            f"{migration.name} did not get its locks ({exc.diag.message_primary}); end long transactions, or stop "
            "Mailroom's processes, and run it again"
        ) from exc
    except IntegrityError as exc:
        reason = exc.diag.message_detail or exc.diag.message_primary
        raise MigrationRefused(f"rows violate {migration.name} ({reason}); correct them and run it again") from exc


def _how_to_repair(name: str) -> str:
    """Explain the repair. Development versions before 0.1.0 had another first file, and have no upgrade."""
    remedy = "undo the edit and add a new file"
    if name == FIRST:
        remedy += (
            ". If a development version before 0.1.0 made this database, it cannot be upgraded: "
            "delete the folder .mailroom, or the database, and start again"
        )
    return f"{name} was applied with other content; {remedy}"


def _apply(conn: psycopg.Connection[TupleRow], migration: Migration) -> None:
    with conn.transaction():
        conn.execute("SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
        conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        conn.execute(migration.sql.encode())
        conn.execute(
            "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", (migration.name, migration.checksum)
        )
