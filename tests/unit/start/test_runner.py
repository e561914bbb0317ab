"""When what died is started again, and which commands there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from console.up.runner import PrefixedOutput, pause_before_restart
from console.up.up import ROOT, commands

PROCFILE = Path(__file__).parents[3] / "Procfile"


@pytest.mark.parametrize(
    ("ends", "pause"),
    [
        # The first end may be an accident
        (1, 0.5),
        (2, 1.0),
        (4, 4.0),
        # It may be mended while we wait: never longer than half a minute
        (7, 30.0),
        (1000, 30.0),
    ],
)
def test_pause_before_restart(ends: int, pause: float) -> None:
    assert pause_before_restart(ends) == pause


def test_the_release_command_is_not_kept_running() -> None:
    assert commands("web: python -m ingest\nrelease: mailroom migrate\n", demo=False) == {"web": "python -m ingest"}


def test_a_demo_has_a_small_front_besides() -> None:
    assert list(commands("web: x\n", demo=True)) == ["web", "sandbox", "demo"]


def test_no_worker_waits_for_others_of_its_kind() -> None:
    workers = [line for line in PROCFILE.read_text().splitlines() if "celery" in line]
    assert len(workers) == 2
    assert all("-P threads" in line and "--without-mingle" in line for line in workers)


def test_the_projects_own_procfile_is_found() -> None:
    assert ROOT / "Procfile" == PROCFILE


def shown(script: str) -> None:
    output = PrefixedOutput(width=6)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        output.follow("web", process)
        process.wait()
        output.close()


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        (r"one\ntwo\n", "web    | one\nweb    | two\n"),
        # A line without its end is shown when the program ends
        (r"half", "web    | half\n"),
        # What is no text does not stop the others
        (r"\xff\n", "web    | \ufffd\n"),
        ("", ""),
    ],
)
def test_each_line_carries_the_programs_name(written: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown(f"import sys; sys.stdout.buffer.write(b'{written}')")
    assert capsys.readouterr().out == printed
