"""Databases that Mailroom cannot use as they are: another encoding, or a role without rights."""

from __future__ import annotations

import itertools
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner

from console.cli import main
from shared.db.core.locks import RECORDER, Role
from shared.db.core.migrate import migrate
from shared.db.core.pool import Pool
from shared.db.core.session import session
from shared.db.recording.spool_writer import SpoolConnection
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    from console.up.embedded import Postgres

NAME = "Łukasz 田中 ß"
NUMBERS = itertools.count(1)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    def run(url: str, *words: str) -> Result:
        environment = {"DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1/0", "MAILROOM_DATA": str(tmp_path)}
        environment |= {"PORT": "0", "CONSOLE_PORT": "0"}
        return CliRunner(env=environment).invoke(main, words, catch_exceptions=False)

    return run


@pytest.fixture
def admin(postgres: Postgres) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as conn:
        yield conn


@pytest.fixture(params=["SQL_ASCII", "LATIN1", "WIN1251", "EUC_JP"])
def foreign(
    request: pytest.FixtureRequest, postgres: Postgres, admin: psycopg.Connection[tuple[object, ...]]
) -> Iterator[tuple[str, str]]:
    """An empty database in another encoding: its URL and the encoding."""
    name = f"foreign_{next(NUMBERS)}"
    admin.execute(f"CREATE DATABASE {name} ENCODING '{request.param}' LOCALE 'C' TEMPLATE template0")
    yield postgres.url_of(name), request.param
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("words", [("migrate",), ("migrate", "--dry-run"), ("up",)], ids=" ".join)
def test_a_database_in_another_encoding_is_refused(
    foreign: tuple[str, str], words: tuple[str, ...], run: Callable[..., Result]
) -> None:
    url, encoding = foreign
    done = run(url, *words)
    [line] = [line for line in done.stderr.splitlines() if "DATABASE_URL" in line]
    assert (done.exit_code, f"the database is in {encoding}; make one with" in line) == (78, True)
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,)


def test_doctor_names_the_encoding(foreign: tuple[str, str], database: str, run: Callable[..., Result]) -> None:
    url, encoding = foreign
    assert f"WRONG database encoding: {encoding}" in run(url, "doctor").output
    assert "ok    database encoding: UTF8" in run(database, "doctor").output


@pytest.fixture(params=["url", "environment", "database", "role"])
def misled(
    request: pytest.FixtureRequest,
    database: str,
    admin: psycopg.Connection[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A database in UTF-8, where something asks for Latin 1 for its clients."""
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    if request.param == "environment":
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    elif request.param == "database":
        admin.execute(f"ALTER DATABASE {name} SET client_encoding = 'LATIN1'")
    elif request.param == "role":
        admin.execute(f"ALTER ROLE postgres IN DATABASE {name} SET client_encoding = 'LATIN1'")
    yield database + ("&client_encoding=LATIN1" if request.param == "url" else "")
    admin.execute(f"ALTER ROLE postgres IN DATABASE {name} RESET client_encoding")


def test_every_connection_speaks_utf8(misled: str) -> None:
    insert = "INSERT INTO tenants (name) VALUES (%s) RETURNING name"
    with Pool(misled, size=1, application_name="pool") as pool:
        assert pool.run(lambda conn: conn.execute(insert, (NAME,)).fetchone()) == (NAME,)
    with session(misled) as conn:
        assert conn.execute("SELECT name FROM tenants").fetchone() == (NAME,)
    with closing(Role(misled, RECORDER, process=NAME)) as role, role.held() as is_held:
        assert is_held
    with closing(SpoolConnection(misled)) as spool:
        spool.put([Delivery(id="0" * 32, received_at=datetime.now(UTC), body=NAME.encode())])
        assert spool._conn
        assert spool._conn.execute("SELECT body, %s FROM spooled_deliveries", (NAME,)).fetchone() == (
            NAME.encode(),
            NAME,
        )


@pytest.fixture
def role(admin: psycopg.Connection[tuple[object, ...]]) -> Iterator[str]:
    """A role without any rights, with a name that needs quotes."""
    name = f"Mail-Room {next(NUMBERS)}"
    admin.execute(f'CREATE ROLE "{name}" LOGIN')
    yield name
    admin.execute(f'DROP ROLE "{name}"')


@pytest.fixture
def empty(
    postgres: Postgres, admin: psycopg.Connection[tuple[object, ...]], role: str
) -> Iterator[tuple[str, Callable[[str], str]]]:
    """An empty database: its URL for its owner, and for a role."""
    name = f"empty_{next(NUMBERS)}"
    admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    url = postgres.url_of(name)
    yield url, lambda role: url.replace("postgres@", role.replace(" ", "%20") + "@")
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(
    ("owner_does", "schema"),
    [
        ("SELECT 1", "public"),
        ("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "public"),
        (
            "CREATE SCHEMA mail; GRANT USAGE ON SCHEMA mail TO PUBLIC; ALTER DATABASE {db} SET search_path = mail",
            "mail",
        ),
    ],
    ids=["create", "usage", "other schema"],
)
def test_a_role_that_may_not_make_tables_is_told_the_grant(
    empty: tuple[str, Callable[[str], str]], role: str, owner_does: str, schema: str, run: Callable[..., Result]
) -> None:
    url, url_of = empty
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(owner_does.format(db=owner.info.dbname))
        for words in (("migrate",), ("migrate", "--dry-run")):
            done = run(url_of(role), *words)
            [line] = done.output.splitlines()
            assert (done.exit_code, line.partition(":")[0]) == (1, "migration_refused")
        grant = line[line.index("GRANT") :]
        assert grant == f'GRANT USAGE, CREATE ON SCHEMA "{schema}" TO "{role}"'
        owner.execute(grant)
    done = run(url_of(role), "migrate")
    assert (done.exit_code, "applied 0001_initial" in done.output) == (0, True)


def test_a_role_that_does_not_own_the_tables_is_told_so(
    empty: tuple[str, Callable[[str], str]], role: str, run: Callable[..., Result]
) -> None:
    url, url_of = empty
    migrate(url)
    with psycopg.connect(url, autocommit=True) as owner:
        last = "0010_process_connections"  # it changes a table, which its owner alone may
        owner.execute(f'GRANT CREATE ON SCHEMA public TO "{role}"')
        done = run(url_of(role), "migrate")
        assert (done.exit_code, "permission denied for table schema_migrations" in done.output) == (1, True)
        owner.execute(f'GRANT SELECT, INSERT ON schema_migrations TO "{role}"')
        owner.execute("DELETE FROM schema_migrations WHERE name = %s", (last,))
    done = run(url_of(role), "migrate")
    assert done.exit_code == 1
    assert done.output.startswith(f"migration_refused: the role in DATABASE_URL may not apply {last}")
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize("words", [("status",), ("event", "list"), ("tenant", "list")], ids=" ".join)
def test_a_role_without_rights_to_the_tables_is_told_so(
    empty: tuple[str, Callable[[str], str]], role: str, words: tuple[str, ...], run: Callable[..., Result]
) -> None:
    url, url_of = empty
    migrate(url)
    done = run(url_of(role), *words)
    assert done.exit_code == 1
    assert done.output.startswith("not_permitted: the role in DATABASE_URL lacks a right (permission denied for ")
