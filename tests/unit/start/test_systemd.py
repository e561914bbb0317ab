"""The units of systemd run the Procfile's commands, hardened, and systemd reads them without a word."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from configparser import ConfigParser
from typing import TYPE_CHECKING

import pytest

from tests.programs import find_program
from tests.unit.start.deploy_files import DEPLOY, PROGRAMS, plain

if TYPE_CHECKING:
    from pathlib import Path

UNITS = DEPLOY / "systemd"
PLACE = "/opt/mailroom/.venv/bin"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
#: How exposed a service may be, of 100; a unit without hardening has 96.
EXPOSURE = 30


def unit(name: str) -> ConfigParser:
    """Return a unit; the keys of one section are different."""
    found = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=True)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(UNITS / name)
    return found


def service(kind: str) -> str:
    return "mailroom-worker@.service" if kind == "worker" else f"mailroom-{kind}.service"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units at a place where they may be changed, with the programs that they name."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    (folder / "bin").mkdir()
    for name in ("python", "celery"):
        (folder / "bin" / name).write_text("#!/bin/sh\n")
        (folder / "bin" / name).chmod(0o755)
    for path in folder.glob("*.service"):
        path.write_text(path.read_text().replace(PLACE, str(folder / "bin")))
    return folder


def analyze(units: Path, *words: str) -> str:
    """Run systemd-analyze over these units. Fails with its output unless it ends with 0, and returns it."""
    line = [find_program("systemd-analyze", package="systemd"), *words]
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"}
    ended = subprocess.run(line, cwd=units, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def verify(units: Path) -> None:
    names = [name.replace("@.", "@1.") for name in SERVICES]
    assert analyze(units, "verify", "--man=no", "mailroom.target", *names) == ""


def security(units: Path, name: str) -> str:
    return analyze(units, "security", "--offline=true", f"--threshold={EXPOSURE}", name.replace("@.", "@1."))


def test_systemd_reads_the_units(units: Path) -> None:
    verify(units)


def test_a_wrong_word_in_a_unit_is_found(units: Path) -> None:
    wrong = units / "mailroom-web.service"
    wrong.write_text(wrong.read_text().replace("WatchdogSec", "WatchdogSecs"))
    with pytest.raises(AssertionError, match="WatchdogSecs"):
        verify(units)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened(units: Path, name: str) -> None:
    assert "Overall exposure level" in security(units, name)


def test_a_service_that_is_not_hardened_is_found(units: Path) -> None:
    shutil.rmtree(units / "mailroom-.service.d")
    with pytest.raises(AssertionError, match="UNSAFE"):
        security(units, "mailroom-web.service")


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_unit_runs_the_procfiles_command(kind: str) -> None:
    command = unit(service(kind))["Service"]["ExecStart"].replace(f"{PLACE}/", "").replace("%%", "%")
    command = command.replace("${WORKER_THREADS}", "16").replace("worker%i@", "worker@")
    assert command.split() == plain(PROGRAMS[kind])


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_service_is_watched_and_started_again(kind: str) -> None:
    found = unit(service(kind))["Service"]
    assert found["Type"] == "notify"
    # The door and the console answer in processes of their own, which say so themselves.
    assert found["NotifyAccess"] == ("all" if kind in {"web", "console"} else "main")
    assert found["Restart"] == "always"
    assert int(found["WatchdogSec"]) >= 60
    assert int(found["TimeoutStopSec"]) >= 30


def test_no_two_services_have_one_port() -> None:
    lines = [unit(service(kind))["Service"]["Environment"] for kind in PROGRAMS]
    ports = [match[1].replace("%i", "1") for line in lines if (match := re.search(r"METRICS_PORT=(\S+)", line))]
    assert len(ports) == len(set(ports)) == len(PROGRAMS)
