"""A platform installs requirements.txt and runs the Procfile's lines, with nothing but the files at the top."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import requests

from bench.harness.ports import free_ports
from tests.integration.start.conftest import wait_until
from tests.integration.start.redis_peers import PostgresRelay, tls_relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.up.embedded import Postgres

ROOT = Path(__file__).parents[3]
FILES = ("Procfile", ".profile", ".python-version", "app.json", "requirements.txt", "pyproject.toml")
FOLDERS = ("ingest", "workers", "console", "shared", "sandbox")
KEY = "bWFpbHJvb20ncyB0ZXN0cywgbm90IGEgc2VjcmV0ISE="
BEATING = ["console", "recorder", "sweeper", "worker"]


@pytest.fixture(scope="module")
def slug(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files at the top, with the packages of requirements.txt in `.packages`."""
    folder = tmp_path_factory.mktemp("platform") / "app"
    folder.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "venv", folder / ".packages"], check=True)
    install_packages(folder)
    return folder


def install_packages(folder: Path) -> None:
    """Install requirements.txt into `.packages` with uv, which takes a second, else with pip as a platform does."""
    options = ("install", "-q", "-r", "requirements.txt")
    uv = [Path(sys.executable).with_name("uv"), "pip", *options, "--system-certs"]
    own = {**os.environ, "VIRTUAL_ENV": str(folder / ".packages")}
    with suppress(OSError):
        if subprocess.run(uv, cwd=folder, env=own, check=False).returncode == 0:
            return
    subprocess.run([folder / ".packages/bin/python", "-m", "pip", *options], cwd=folder, check=True)


@pytest.fixture
def stores(own_postgres: Postgres, redis_db: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The addresses that a platform gives: both servers speak TLS, and signed their certificates themselves."""
    redis, postgres = urlsplit(redis_db), urlsplit(own_postgres.url)
    with (
        tls_relay(redis_db, tmp_path, name="redis.example") as (_, redis_port, _),
        tls_relay(own_postgres.url, tmp_path, name="postgres.example", kind=PostgresRelay) as (_, postgres_port, _),
    ):
        yield {
            "REDIS_URL": f"rediss://:{redis.password}@127.0.0.1:{redis_port}{redis.path}",
            "DATABASE_URL": f"postgres://postgres@127.0.0.1:{postgres_port}{postgres.path}?sslmode=require",
        }


@pytest.fixture
def environment(slug: Path, stores: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The variables of a platform: a PORT, and no MAILROOM_DATA."""
    port, console_port = free_ports(2)
    return {
        "DYNO": "web.1",
        "PATH": f"{slug / '.packages/bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "MAILROOM_ENV": "production",
        **stores,
        "STORAGE_URL": f"file://{tmp_path}/files",
        "FRONT_SIGNING_KEYS": "k" * 32,
        "SECRET_KEY": "s" * 32,
        "TOKEN_KEYS": KEY,
        "PUBLIC_URL": "https://console.your.host",
        "PORT": str(port),
        "CONSOLE_PORT": str(console_port),
        "REPAIR_MINUTES": "0",
    }


def lines_of(slug: Path) -> dict[str, str]:
    lines = ((slug / "Procfile").read_text(encoding="utf-8")).splitlines()
    return {name: command.strip() for name, _, command in (line.partition(":") for line in lines)}


@pytest.fixture
def running(slug: Path, environment: dict[str, str]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Every line of the Procfile as a process, after the one for a release has ended."""
    commands = {name: as_the_platform_runs(line) for name, line in lines_of(slug).items()}
    subprocess.run(commands.pop("release"), cwd=slug, env=environment, check=True)
    processes = {name: subprocess.Popen(line, cwd=slug, env=environment) for name, line in commands.items()}
    try:
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def as_the_platform_runs(line: str) -> list[str]:
    return ["/bin/sh", "-c", f". ./.profile; exec {line}"]


def beating(database_url: str) -> list[str]:
    """Return the kinds of process that have sent a heartbeat."""
    with psycopg.connect(database_url) as conn:
        return [kind for (kind,) in conn.execute("SELECT DISTINCT kind FROM processes ORDER BY kind")]


def listens_at(pid: int) -> set[str]:
    """Return the addresses at which a process and its children listen."""
    process = psutil.Process(pid)
    connections = [each for one in (process, *process.children()) for each in one.net_connections()]
    return {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def test_the_procfile_works_without_mailroom_being_installed(
    running: dict[str, subprocess.Popen[bytes]], environment: dict[str, str]
) -> None:
    door, console = environment["PORT"], environment["CONSOLE_PORT"]
    wait_until(lambda: answers(f"http://127.0.0.1:{door}/livez"), "the door answers")
    wait_until(lambda: answers(f"http://127.0.0.1:{console}/livez"), "the console answers")
    wait_until(lambda: beating(environment["DATABASE_URL"]) == BEATING, "all processes have a heartbeat")
    slug = Path(environment["PATH"].partition("/.packages/")[0])
    for kind in BEATING:
        subprocess.run(["python", "-m", "console", "health", kind], cwd=slug, env=environment, check=True)
    assert listens_at(running["web"].pid) == {"0.0.0.0"}
    for process in running.values():
        process.terminate()
    assert {name: process.wait(40) for name, process in running.items()} == dict.fromkeys(running, 0)


def test_an_app_of_its_own_has_the_console_on_its_only_port(slug: Path, environment: dict[str, str]) -> None:
    subprocess.run(as_the_platform_runs(lines_of(slug)["release"]), cwd=slug, env=environment, check=True)
    own = environment | {"WEB_MODULE": "console.web"}
    process = subprocess.Popen(as_the_platform_runs(lines_of(slug)["web"]), cwd=slug, env=own)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{environment['PORT']}/login"), "the console answers on PORT")
        assert not answers(f"http://127.0.0.1:{environment['CONSOLE_PORT']}/livez")
        process.terminate()
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("rediss://:p@host:6380", "rediss://:p@host:6380?ssl_cert_reqs=none"),
        ("rediss://:p@host:6380?ssl_ca_certs=/ca.pem", "rediss://:p@host:6380?ssl_ca_certs=/ca.pem"),
        ("redis://:p@host:6379", "redis://:p@host:6379"),
    ],
)
def test_only_a_dyno_trusts_a_certificate_that_redis_signed_itself(given: str, kept: str) -> None:
    shown = ["/bin/sh", "-c", '. ./.profile; echo "$REDIS_URL"']
    for dyno, expected in (({"DYNO": "web.1"}, kept), ({}, given)):
        own = {"REDIS_URL": given, **dyno}
        assert (
            subprocess.run(shown, cwd=ROOT, env=own, capture_output=True, text=True, check=True).stdout
            == f"{expected}\n"
        )


def test_the_command_line_works_as_a_module(slug: Path, environment: dict[str, str]) -> None:
    line = ["python", "-m", "console", "--help"]
    shown = subprocess.run(line, cwd=slug, env=environment, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("Usage: mailroom ")
