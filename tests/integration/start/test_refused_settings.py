"""Processes that cannot run with their settings say so in one line, without a secret, and end with 78."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from bench.harness.ports import free_port
from console.up.up import commands
from tests.integration.start.conftest import wait_until
from tests.integration.start.redis_peers import cluster_node, unix_relay

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[3]
KEPT = ("PATH", "COVERAGE_PROCESS_CONFIG")
COMMANDS = {
    **commands((ROOT / "Procfile").read_text(), demo=False),
    "migrate": "mailroom migrate",
    "status": "mailroom status",
}
STORES = {"DATABASE_URL": "postgresql://127.0.0.1:1/mailroom", "REDIS_URL": "redis://127.0.0.1:1/0"}
KEY = "bWFpbHJvb20ncyB0ZXN0cywgbm90IGEgc2VjcmV0ISE="
OWN = {
    "web": {"DATABASE_URL", "REDIS_URL", "FRONT_SIGNING_KEYS"},
    "recorder": {"DATABASE_URL", "REDIS_URL"},
    "worker": {"DATABASE_URL", "REDIS_URL", "TOKEN_KEYS", "STORAGE_URL"},
    "sweeper": {"DATABASE_URL", "REDIS_URL"},
    "console": {"DATABASE_URL", "REDIS_URL", "TOKEN_KEYS", "SECRET_KEY"},
    "migrate": {"DATABASE_URL"},
}
PRODUCTION = {
    **STORES,
    "MAILROOM_ENV": "production",
    "STORAGE_URL": "file:///nowhere/of/mailroom",
    "FRONT_SIGNING_KEYS": "k" * 32,
    "SECRET_KEY": "s" * 32,
    "TOKEN_KEYS": KEY,
}


def environment_of(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    own = {name: os.environ[name] for name in KEPT if name in os.environ}
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    return {**own, "MAILROOM_DATA": str(folder), **given}


def told(command: str, folder: Path, **given: str) -> str:
    """Everything that the command printed before it ended with 78."""
    line = ["/bin/sh", "-c", f"exec {command}"]
    ended = subprocess.run(
        line, cwd=ROOT, env=environment_of(folder, given), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 78, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_database_url_of_another_library_is_told_without_its_password(name: str, tmp_path: Path) -> None:
    shown = told(COMMANDS[name], tmp_path, **(STORES | {"DATABASE_URL": "postgresql+psycopg://u:hunter2@db/mailroom"}))
    assert "DATABASE_URL: " in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize("name", [name for name in OWN if name != "migrate"])
def test_a_redis_url_that_kombu_or_the_door_cannot_read_is_told_by_all(name: str, tmp_path: Path) -> None:
    shown = told(COMMANDS[name], tmp_path, **(STORES | {"REDIS_URL": "redis://:hunter2@cache/mailroom"}))
    assert "REDIS_URL: " in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(("name", "own"), OWN.items())
def test_a_process_asks_for_its_own_settings_only_and_for_all_of_them(name: str, own: set[str], tmp_path: Path) -> None:
    shown = told(COMMANDS[name], tmp_path, MAILROOM_ENV="production")
    asked = {line.removeprefix("Configuration: ") for line in shown.splitlines() if "required in production" in line}
    assert asked == {f"{each}: required in production" for each in own}


@pytest.mark.parametrize("name", ["web", "recorder", "worker", "sweeper", "console"])
def test_a_redis_cluster_is_refused(name: str, tmp_path: Path) -> None:
    with cluster_node() as url:
        secrets = {"FRONT_SIGNING_KEYS": "k", "TOKEN_KEYS": KEY, "SECRET_KEY": "s"}
        shown = told(COMMANDS[name], tmp_path, **(STORES | {"REDIS_URL": url} | secrets))
    assert "Redis Cluster" in shown


def test_a_worker_with_a_storage_that_no_client_takes_ends_for_good(tmp_path: Path) -> None:
    shown = told(COMMANDS["worker"], tmp_path, **STORES, TOKEN_KEYS=KEY, STORAGE_URL="file://data/files")
    assert "STORAGE_URL: " in shown


@pytest.mark.parametrize("command", ["mailroom up --demo", "mailroom sandbox serve", "mailroom sandbox send mixed"])
def test_nothing_of_the_demo_runs_in_production(command: str, tmp_path: Path) -> None:
    assert "does not run in production" in told(command, tmp_path, **PRODUCTION)


def test_the_demos_program_does_not_run_in_production_by_itself(tmp_path: Path) -> None:
    assert "does not run in production" in told("python -m console.up.demo", tmp_path, **PRODUCTION)


def test_up_in_production_makes_no_signing_key_and_starts_no_server(tmp_path: Path) -> None:
    shown = told("mailroom up", tmp_path, MAILROOM_ENV="production", STORAGE_URL="file:///nowhere/of/mailroom")
    assert [line.partition(":")[0] for line in shown.splitlines()] == [
        "DATABASE_URL",
        "REDIS_URL",
        "FRONT_SIGNING_KEYS",
    ]


@pytest.mark.parametrize("name", ["web", "console"])
@pytest.mark.parametrize("host", ["203.0.113.9", "a..b", "127.0.0.1:8080"])
def test_a_host_that_is_not_this_machines_is_told(name: str, host: str, tmp_path: Path) -> None:
    given = {"HOST": host, "FRONT_SIGNING_KEYS": "k", "TOKEN_KEYS": KEY, "SECRET_KEY": "s"}
    assert "HOST: " in told(COMMANDS[name], tmp_path, **STORES, **given)


@pytest.mark.parametrize("host", ["localhost", "[::1]", '"127.0.0.1"', "x86_64-conda-linux-gnu", ""])
def test_a_door_listens_where_a_name_leads(host: str, tmp_path: Path) -> None:
    address = host if host.startswith("[") else "127.0.0.1"
    port = free_port()
    own = {"HOST": host, "PORT": str(port), "FRONT_SIGNING_KEYS": "k", "WEB_CONCURRENCY": "1"}
    line = [sys.executable, "-m", "ingest"]
    with subprocess.Popen(line, cwd=ROOT, env=environment_of(tmp_path, STORES | own)) as door:
        try:
            wait_until(lambda: _answers(f"http://{address}:{port}/livez"), "the door answers")
        finally:
            door.terminate()
        assert door.wait(timeout=30) == 0


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.ConnectionError:
        return False


def test_a_door_and_its_store_meet_at_a_unix_socket(redis_db: str, tmp_path: Path) -> None:
    password = redis_db.partition("@")[0].removeprefix("redis://:")
    port = free_port()
    own = {"PORT": str(port), "FRONT_SIGNING_KEYS": "k", "WEB_CONCURRENCY": "1"}
    with unix_relay(redis_db, tmp_path / "redis.sock") as relay:
        stores = STORES | {"REDIS_URL": f"unix://:{shlex.quote(password)}@{tmp_path}/redis.sock"}
        line = [sys.executable, "-m", "ingest"]
        with subprocess.Popen(line, cwd=ROOT, env=environment_of(tmp_path, stores | own)) as door:
            try:
                wait_until(lambda: _answers(f"http://127.0.0.1:{port}/readyz"), "the door can keep deliveries")
            finally:
                door.terminate()
    assert relay.received
