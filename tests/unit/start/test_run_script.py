"""The script `./run`, with a prepared `.venv` whose programs print their arguments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PRINT_ARGUMENTS = '#!/bin/sh\necho "$(basename "$0") $* in $(pwd) on $MAILROOM_DATA"\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A prepared checkout with a space in its name."""
    folder = (tmp_path / "my mail").resolve()
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("run", "requirements.lock", "requirements-uv.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (programs / "mailroom").write_text(PRINT_ARGUMENTS)
    (programs / "python").write_text(f'[ "$1" = -c ] || exec "{programs}/mailroom" python "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    script = (folder / "run").read_text().partition("up_to_date || set_up")[0] + 'fingerprint >"$venv/.made-from"\n'
    subprocess.run(["sh", "-c", script, folder / "run"], check=True)
    return folder


def run(checkout: Path, *arguments: str, folder: Path, **settings: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "MAILROOM_DATA"}
    ended = subprocess.run(
        [checkout / "run", *arguments],
        cwd=folder,
        env=environment | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        # Without arguments it starts everything, with sample data
        ([], "mailroom up --demo"),
        # Mailroom gets every other word
        (["status", "--json"], "mailroom status --json"),
        (["--help"], "mailroom --help"),
    ],
)
def test_a_mailroom_command_runs_in_the_callers_folder(
    checkout: Path, tmp_path: Path, arguments: list[str], called: str
) -> None:
    told = run(checkout, *arguments, folder=tmp_path)
    assert told == f"{called} in {tmp_path.resolve()} on {checkout}/.mailroom"


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["test", "-k", "a or b"], "-m pytest -k a or b"),
        # pytest would take a path right behind --cov as the code to measure
        (["test", "--cov", "tests/unit"], "-m pytest --cov --cov-config=pyproject.toml tests/unit"),
        (["bench", "door"], "-m bench door"),
        (["faults", "--json"], "-m bench.faults --json"),
        (["docs", "site"], "-m docs.site site"),
        (["licences"], "-m docs.licences"),
    ],
)
def test_a_development_command_runs_in_the_checkout(
    checkout: Path, tmp_path: Path, arguments: list[str], called: str
) -> None:
    told = run(checkout, *arguments, folder=tmp_path)
    assert told == f"mailroom python {called} in {checkout} on {checkout}/.mailroom"


def test_the_whole_suite_gets_its_programs_first(checkout: Path, tmp_path: Path) -> None:
    called = [line.partition(" in ")[0] for line in run(checkout, "test", folder=tmp_path).splitlines()]
    pytest_and_options = "mailroom python -m pytest -n 4 --dist loadfile --no-loadscope-reorder"
    assert called == ["mailroom python -m tests.programs", pytest_and_options]


def test_the_data_folder_is_configurable(checkout: Path, tmp_path: Path) -> None:
    assert run(checkout, "status", folder=tmp_path, MAILROOM_DATA="/elsewhere").endswith("on /elsewhere")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is sure to have no Python in an empty folder")
def test_without_python_it_names_the_required_version(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".venv" / ".made-from").unlink()
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "cat", "cksum", "sed", "dirname", "ln", "rm", "readlink"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    ended = subprocess.run([checkout / "run"], env={"PATH": str(tools)}, capture_output=True, text=True, check=False)
    assert (ended.returncode, "needs Python 3.11 or newer" in ended.stderr) == (1, True)
    assert not (checkout / ".venv.setup").is_symlink()
