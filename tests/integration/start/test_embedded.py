"""The embedded servers against real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import redis

from console.up.embedded import Postgres
from console.up.embedded.server import end_leftover

if TYPE_CHECKING:
    from pathlib import Path

    from console.up.embedded import Valkey


def test_postgres_comes_back_after_a_kill_with_the_same_url_and_data(own_postgres: Postgres) -> None:
    url = own_postgres.url
    with psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 7 AS number")
    own_postgres.kill()
    own_postgres.start()
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT number FROM kept").fetchone() == (7,)


def test_valkey_comes_back_after_a_kill_with_the_same_url_and_data(own_valkey: Valkey) -> None:
    url = own_valkey.url
    with redis.Redis.from_url(url) as client:
        client.set("kept", 7)
        own_valkey.kill()
        own_valkey.start()
        assert client.get("kept") == b"7"


def test_a_folder_that_others_cannot_enter_stays_so(tmp_path: Path) -> None:
    """PostgreSQL under root runs with an account that cannot enter this folder, so its data lives elsewhere."""
    tmp_path.chmod(0o700)
    with Postgres(tmp_path, durable=False) as server, psycopg.connect(server.url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
        elsewhere = server.folder
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(elsewhere)


def test_a_server_left_behind_is_ended(tmp_path: Path) -> None:
    # Tests that run in the background of a script ignore SIGINT, and so do the processes they start.
    script = "import signal, time; signal.signal(2, signal.SIG_DFL); print('running', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE) as left:
        assert left.stdout
        left.stdout.readline()  # before that, its command line does not identify it
        (tmp_path / "pid").write_text(f"{left.pid}\n")
        end_leftover(tmp_path / "pid", str(tmp_path))
        assert left.wait(5) == -signal.SIGINT


def test_a_stranger_with_the_old_number_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    end_leftover(tmp_path / "pid", str(tmp_path))
    assert not (tmp_path / "pid").exists()


def test_a_clean_database_is_migrated(database: str) -> None:
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) > 0 FROM schema_migrations").fetchone() == (True,)


def test_a_clean_database_knows_nothing_of_the_shared_one(database: str, database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS only_shared ()")
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT to_regclass('only_shared')").fetchone() == (None,)


def test_a_clean_redis_database_is_empty(redis_db: str, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as shared, redis.Redis.from_url(redis_db) as own:
        shared.set("left", "over")
        assert own.dbsize() == 0
