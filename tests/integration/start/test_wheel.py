"""An installed wheel has all that an installation needs: `mailroom up` runs from it, without the source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest
import requests
from hatchling.builders.wheel import WheelBuilder

from bench.harness.ports import free_ports
from tests.integration.start.conftest import wait_until
from tests.integration.start.test_platform import FOLDERS, ROOT, install_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.up.embedded import Postgres


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this source."""
    folder = tmp_path_factory.mktemp("wheel")
    [path] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return Path(path)


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """The folder with the commands of a fresh environment, which has the wheel and what requirements.txt names."""
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / ".packages"], check=True)
    install_packages(tmp_path)
    commands = tmp_path / ".packages" / "bin"
    subprocess.run([commands / "python", "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)
    return commands


@pytest.fixture
def up(
    installed: Path, own_postgres: Postgres, redis_db: str, tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """`mailroom up` in an empty folder, and its environment."""
    door, console = free_ports(2)
    environment = {
        "PATH": f"{installed}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "DATABASE_URL": own_postgres.url,
        "REDIS_URL": redis_db,
        "PORT": str(door),
        "CONSOLE_PORT": str(console),
        "FRONT_SIGNING_KEYS": "k" * 32,
    }
    folder = tmp_path / "empty"
    folder.mkdir()
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [installed / "mailroom", "up"], cwd=folder, env=environment, text=True, stdout=log, stderr=log
        )
    yield process, environment
    process.terminate()
    process.wait(60)


def test_the_wheel_has_every_file_of_its_packages_and_the_procfile(wheel: Path) -> None:
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file())
    ours = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    assert packed == ours | {"console/up/Procfile"}


def test_everything_runs_from_an_installed_wheel(
    up: tuple[subprocess.Popen[str], dict[str, str]], tmp_path: Path
) -> None:
    process, environment = up
    log = tmp_path / "log"
    wait_until(lambda: "Mailroom is running" in log.read_text() or process.poll() is not None, "all programs listen")
    assert process.poll() is None, log.read_text()
    assert "mailroom event list" in log.read_text()
    console = f"http://127.0.0.1:{environment['CONSOLE_PORT']}"
    page = requests.get(f"{console}/login", timeout=20)
    assert page.ok
    [style, *_] = [word for word in page.text.split('"') if word.startswith("/static/") and ".css" in word]
    assert requests.get(console + style, timeout=20).ok
    unsigned = requests.post(f"http://127.0.0.1:{environment['PORT']}/webhooks/front", data=b"{}", timeout=20)
    assert unsigned.status_code == 401
    process.terminate()
    assert process.wait(60) == 0
