"""A platform installs requirements.txt and runs the Procfile's lines, with nothing but the files at the top."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import requests

from bench.harness.ports import free_ports
from tests.integration.start.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.up.embedded import Postgres

ROOT = Path(__file__).parents[3]
FILES = ("Procfile", "requirements.txt", "pyproject.toml")
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
    _install(folder)
    return folder


def _install(folder: Path) -> None:
    """Install with uv, which takes a second, and else with pip, as a platform does."""
    options = ("install", "-q", "-r", "requirements.txt")
    uv = [Path(sys.executable).with_name("uv"), "pip", *options, "--system-certs"]
    own = {**os.environ, "VIRTUAL_ENV": str(folder / ".packages")}
    with suppress(OSError):
        if subprocess.run(uv, cwd=folder, env=own, check=False).returncode == 0:
            return
    subprocess.run([folder / ".packages/bin/python", "-m", "pip", *options], cwd=folder, check=True)


@pytest.fixture
def environment(slug: Path, own_postgres: Postgres, redis_db: str, tmp_path: Path) -> dict[str, str]:
    """The variables of a platform: a PORT, and no MAILROOM_DATA."""
    port, console_port = free_ports(2)
    return {
        "PATH": f"{slug / '.packages/bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "MAILROOM_ENV": "production",
        "DATABASE_URL": own_postgres.url,
        "REDIS_URL": redis_db,
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
    commands = {name: ["/bin/sh", "-c", f"exec {line}"] for name, line in lines_of(slug).items()}
    subprocess.run(commands.pop("release"), cwd=slug, env=environment, check=True)
    processes = {name: subprocess.Popen(line, cwd=slug, env=environment) for name, line in commands.items()}
    try:
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def beating(database_url: str) -> list[str]:
    """Return the kinds of process that have sent a heartbeat."""
    with psycopg.connect(database_url) as conn:
        return [kind for (kind,) in conn.execute("SELECT DISTINCT kind FROM processes ORDER BY kind")]


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
    for process in running.values():
        process.terminate()
    assert {name: process.wait(40) for name, process in running.items()} == dict.fromkeys(running, 0)


def test_the_command_line_works_as_a_module(slug: Path, environment: dict[str, str]) -> None:
    line = ["python", "-m", "console", "--help"]
    shown = subprocess.run(line, cwd=slug, env=environment, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("Usage: mailroom ")
