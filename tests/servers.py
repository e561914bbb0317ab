"""One PostgreSQL and one Valkey for a whole run of the tests, with a clean database of each for every test."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
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
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "mailroom-tests-"
TEMPLATE = "template_mailroom"
IN_MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 4 * 2**30  # bytes; a run of three processes needed less than 1 GiB
REDIS_DATABASES = range(1, 256)  # 0 is the one behind `redis_url`


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder for this run; the folders of killed runs are removed first."""
    place = _base_folder()
    for old in place.glob(f"{PREFIX}*"):
        _remove_unless_held(old)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    folder.chmod(0o711)  # PostgreSQL runs as another account when we are root
    with locked(folder):
        yield folder
    shutil.rmtree(folder, ignore_errors=True)  # a starting run may be removing it at the same time


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[Postgres]:
    """The run's PostgreSQL with a migrated template. To stop or kill a server, use `own_postgres`."""
    with Postgres(servers_folder, durable=False) as server:
        with psycopg.connect(server.url_of("postgres"), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(server.url_of(TEMPLATE))
        yield server


@pytest.fixture(scope="session")
def valkey(servers_folder: Path) -> Iterator[Valkey]:
    """The run's Valkey. To stop or kill a server, use `own_valkey`."""
    with Valkey(servers_folder, durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def database_url(postgres: Postgres) -> str:
    """A migrated database that all tests share, so its rows may belong to other tests."""
    return copy_of_template(postgres, "shared")


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
    yield copy_of_template(postgres, name)
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def redis_db(valkey: Valkey, _redis_numbers: Iterator[int]) -> str:
    """The URL of an empty Redis database for this test alone."""
    url = valkey.url.removesuffix("/0") + f"/{next(_redis_numbers)}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="session")
def _stopped_cluster(servers_folder: Path) -> Path:
    """The data of a stopped PostgreSQL. A copy of it starts in a quarter of the time that a new one takes."""
    with Postgres(servers_folder / "stopped", durable=False) as server:
        [data] = server.folder.glob("pgdata-*")
    return data


@pytest.fixture
def own_postgres(servers_folder: Path, _stopped_cluster: Path) -> Iterator[Postgres]:
    """A PostgreSQL with an empty database for this test alone, which may kill and start it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=servers_folder)))
        folder.chmod(0o711)
        server = Postgres(folder, durable=False)
        subprocess.run(["cp", "-a", _stopped_cluster, server.folder], check=True)  # keeps the account that owns it
        yield stack.enter_context(server)


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey for this test alone, which may kill, start or fill it."""
    with Valkey(tmp_path, durable=False) as server:
        yield server


def _base_folder() -> Path:
    """Return a folder in memory if it has room; a database's 300 files cost ten times as much on a disk."""
    try:
        has_room = shutil.disk_usage(IN_MEMORY).free > MEMORY_NEEDED and os.access(IN_MEMORY, os.W_OK)
    except OSError:  # this system has no such folder
        has_room = False
    return IN_MEMORY if has_room else Path(tempfile.gettempdir())


def copy_of_template(postgres: Postgres, name: str) -> str:
    """Make a migrated database of this name, and return its URL."""
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return postgres.url_of(name)


def _remove_unless_held(folder: Path) -> None:
    try:
        with locked(folder):
            shutil.rmtree(folder, ignore_errors=True)
    except (AlreadyRunning, ConfigurationError):  # somebody else's
        return
