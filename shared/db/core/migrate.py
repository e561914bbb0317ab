"""Brings the schema up to date: applies numbered SQL files, each in one transaction that has a lock.

Migrations only add, so an older release works on a newer schema. One that must take something away has a name such as
`0020_drop_shade_after_0012`: releases without migration 0012 then refuse to work. A change of the schema is a new file
in `migrations/`, and the same change in `schema.sql`. Only tests read `schema.sql`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.errors import DeadlockDetected, InsufficientPrivilege, IntegrityError, LockNotAvailable
from psycopg.rows import TupleRow
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from shared.db.core import connect
from shared.errors import ConfigurationError, MailroomError, NotMigrated, SchemaTooNew

MIGRATIONS = Path(__file__).parent.parent / "migrations"
FIRST = "0001_initial"
#: The name says which releases a migration breaks, because an older release sees nothing else of it.
_AFTER = re.compile(r"_after_(\d{4})$")
LOCK = 0x6D61696C  # "mail": an advisory lock, so that two releases at once take turns
ENCODING = "UTF8"
ENCODING_FIX = "make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and move what is stored"
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
    """Rows violate a constraint of a migration, or its role lacks a right. The migrations applied before it stay."""

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


@dataclass(frozen=True, kw_only=True)
class SchemaState:
    """The migrations that a database lacks, and those it has that this release does not know, by name and in order.

    `breaking` has those of the newer ones that took away what this release needs.
    """

    missing: Sequence[str]
    newer: Sequence[str]
    breaking: Sequence[str]


def known(folder: Path = MIGRATIONS) -> list[Migration]:
    """Return every migration of this release, in order."""
    return [Migration(name=path.stem, sql=path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))]


def pending(conn: psycopg.Connection[TupleRow], migrations: list[Migration]) -> list[Migration]:
    """Return the migrations not yet applied. Raises MigrationChanged when one was applied with other content."""
    applied = _applied(conn)
    for migration in migrations:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise MigrationChanged(_how_to_repair(migration.name))
    return [migration for migration in migrations if migration.name not in applied]


def schema_state(conn: psycopg.Connection[TupleRow]) -> SchemaState:
    """Compare the database with this release, by the names of the migrations."""
    ours, applied = _known_names(), _applied(conn)
    newer = sorted(applied.keys() - set(ours))
    return SchemaState(
        missing=[name for name in ours if name not in applied],
        newer=newer,
        breaking=[name for name in newer if (after := _AFTER.search(name)) and after[1] > ours[-1][:4]],
    )


def has_migrations(conn: psycopg.Connection[TupleRow]) -> bool:
    """Whether anybody ever migrated this database."""
    return conn.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone() == (True,)


def require_current(conn: psycopg.Connection[TupleRow]) -> None:
    """Raise NotMigrated or SchemaTooNew unless this release can work on the database. A newer schema is no obstacle."""
    state = schema_state(conn)
    if state.missing:
        raise NotMigrated(f"the schema lacks {', '.join(state.missing)} of this release; run `mailroom migrate`")
    if state.breaking:
        raise SchemaTooNew(
            f"the schema is newer than this release, and {', '.join(state.breaking)} took away what it needs; "
            "run the newer release"
        )


def migrate(database_url: str, *, dry_run: bool = False) -> list[Migration]:
    """Apply the pending migrations and return them; with `dry_run` only return them.

    Raises MigrationChanged, MigrationBlocked, MigrationRefused, and ConfigurationError for a database not in UTF-8.
    """
    with connect(database_url, application_name="mailroom migrate") as conn:
        _refuse_other_encoding(conn)
        missing = pending(conn, known())
        if missing:
            _refuse_missing_rights(conn)
        return missing if dry_run else [migration for migration in missing if apply(conn, migration)]


def server_encoding(conn: psycopg.Connection[TupleRow]) -> str:
    """Return the encoding of the database. Mail in all languages fits into UTF8 alone."""
    row = conn.execute("SHOW server_encoding").fetchone()
    return str(row and row[0])


def apply(conn: psycopg.Connection[TupleRow], migration: Migration, *, tries: int = TRIES) -> bool:
    """Apply one migration while other processes work, waiting for its locks in short turns.

    Returns False when another release has applied it meanwhile.

    Raises MigrationBlocked, MigrationRefused.
    """
    retrying = Retrying(
        retry=retry_if_exception_type((DeadlockDetected, LockNotAvailable)),
        stop=stop_after_attempt(tries),
        wait=wait_random(0, 2 * PAUSE_SECONDS),
        reraise=True,
    )
    try:
        return bool(retrying(_apply, conn, migration))
    except (DeadlockDetected, LockNotAvailable) as exc:
        raise MigrationBlocked(
            f"{migration.name} did not get its locks ({exc.diag.message_primary}); end long transactions, or stop "
            "Mailroom's processes, and run it again"
        ) from exc
    except IntegrityError as exc:
        reason = exc.diag.message_detail or exc.diag.message_primary
        raise MigrationRefused(f"rows violate {migration.name} ({reason}); correct them and run it again") from exc
    except InsufficientPrivilege as exc:
        raise MigrationRefused(
            f"the role in DATABASE_URL may not apply {migration.name} ({exc.diag.message_primary}); run it as the role "
            "that owns the tables"
        ) from exc


def _refuse_other_encoding(conn: psycopg.Connection[TupleRow]) -> None:
    if (encoding := server_encoding(conn)) != ENCODING:
        raise ConfigurationError(f"DATABASE_URL: the database is in {encoding}; {ENCODING_FIX}")


def _refuse_missing_rights(conn: psycopg.Connection[TupleRow]) -> None:
    """Refuse a role that can't make tables: since PostgreSQL 15 only the owner of a database can by itself."""
    query = """
        SELECT coalesce(current_schema(), 'public'),
            current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE'), current_user
    """
    schema, may_create, role = conn.execute(query).fetchone() or ("public", False, "")
    if not may_create:
        grant = sql.SQL("GRANT USAGE, CREATE ON SCHEMA {} TO {}").format(sql.Identifier(schema), sql.Identifier(role))
        raise MigrationRefused(
            f"the role {role} may not make tables in the schema {schema}; let the owner of the database run "
            f"{grant.as_string(conn)}"
        )


@cache
def _known_names() -> tuple[str, ...]:
    return tuple(migration.name for migration in known())


def _applied(conn: psycopg.Connection[TupleRow]) -> dict[str, str]:
    """Return the checksums of the applied migrations, by name."""
    if not has_migrations(conn):
        return {}
    return {str(name): str(checksum) for name, checksum in conn.execute("SELECT name, checksum FROM schema_migrations")}


def _how_to_repair(name: str) -> str:
    """Explain the repair. Development versions before 0.1.0 had another first file, and have no upgrade."""
    remedy = "undo the edit and add a new file"
    if name == FIRST:
        remedy += (
            ". If a development version before 0.1.0 made this database, it cannot be upgraded: "
            "delete the folder .mailroom, or the database, and start again"
        )
    return f"{name} was applied with other content; {remedy}"


def _apply(conn: psycopg.Connection[TupleRow], migration: Migration) -> bool:
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        if not pending(conn, [migration]):
            return False
        conn.execute("SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
        conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        conn.execute(migration.sql.encode())
        conn.execute(
            "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", (migration.name, migration.checksum)
        )
    return True
