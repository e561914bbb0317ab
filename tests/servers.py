"""One PostgreSQL and one Valkey for a whole run of the tests, and clean pieces of both for each test."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis

from console.up.data_folder import AlreadyRunning, locked
from console.up.embedded import Postgres, Valkey
from shared.db.core.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "mailroom-tests-"
TEMPLATE = "template_mailroom"
IN_MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30  # bytes; a run of three processes takes less than one
REDIS_DATABASES = range(1, 256)  # 0 is the one behind `redis_url`


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder of this run; what killed runs left behind is removed first."""
    place = _place()
    for old in place.glob(f"{PREFIX}*"):
        _remove_unless_held(old)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    folder.chmod(0o711)  # PostgreSQL runs as another account when we are root
    with locked(folder):
        yield folder
    shutil.rmtree(folder, ignore_errors=True)  # another run that begins now may be removing it too


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[Postgres]:
    """The run's PostgreSQL with a migrated template. Do not stop or kill it: see `own_postgres`."""
    with Postgres(servers_folder, durable=False) as server:
        with psycopg.connect(server.url_of("postgres"), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(server.url_of(TEMPLATE))
        yield server


@pytest.fixture(scope="session")
def valkey(servers_folder: Path) -> Iterator[Valkey]:
    """The run's Valkey. Do not stop or kill it: see `own_valkey`."""
    with Valkey(servers_folder, durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def database_url(postgres: Postgres) -> str:
    """A migrated database that all tests share; nothing in it is yours alone."""
    return _copy_of_template(postgres, "shared")


@pytest.fixture(scope="session")
def redis_url(valkey: Valkey) -> str:
    """A Redis database that all tests share."""
    return valkey.url


@pytest.fixture(scope="session")
def _database_names() -> Iterator[str]:
    return (f"test_{number}" for number in itertools.count(1))


@pytest.fixture(scope="session")
def _redis_numbers() -> Iterator[int]:
    return itertools.cycle(REDIS_DATABASES)


@pytest.fixture
def database(postgres: Postgres, _database_names: Iterator[str]) -> Iterator[str]:
    """The URL of an empty, migrated database for this test alone."""
    name = next(_database_names)
    yield _copy_of_template(postgres, name)
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def redis_db(valkey: Valkey, _redis_numbers: Iterator[int]) -> str:
    """The URL of an empty Redis database for this test alone."""
    url = valkey.url.removesuffix("/0") + f"/{next(_redis_numbers)}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def own_postgres(servers_folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL for this test alone, to be killed and started; its database is empty."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=servers_folder)))
        folder.chmod(0o711)
        yield stack.enter_context(Postgres(folder, durable=False))


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey for this test alone, to be killed and started, or made to run full."""
    with Valkey(tmp_path, durable=False) as server:
        yield server


def _place() -> Path:
    """In memory where there is room: a database is 300 files, which cost a disk's file system ten times as much."""
    try:
        roomy = shutil.disk_usage(IN_MEMORY).free > ROOM and os.access(IN_MEMORY, os.W_OK)
    except OSError:  # there is none on this system
        roomy = False
    return IN_MEMORY if roomy else Path(tempfile.gettempdir())


def _copy_of_template(postgres: Postgres, name: str) -> str:
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return postgres.url_of(name)


def _remove_unless_held(folder: Path) -> None:
    try:
        with locked(folder):
            shutil.rmtree(folder, ignore_errors=True)
    except (AlreadyRunning, PermissionError):
        return
