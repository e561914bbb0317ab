"""The runner restarts programs after a pause, reads the Procfile, and prefixes their output."""

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
        # The first end may be a coincidence
        (1, 0.5),
        (2, 1.0),
        (4, 4.0),
        # The pause is half a minute at most, because the cause may be repaired meanwhile
        (7, 30.0),
        (1000, 30.0),
    ],
)
def test_pause_before_restart(ends: int, pause: float) -> None:
    assert pause_before_restart(ends) == pause


def test_the_release_command_is_no_program_to_run() -> None:
    assert commands("web: python -m ingest\nrelease: mailroom migrate\n", demo=False) == {"web": "python -m ingest"}


def test_a_demo_also_runs_the_sandbox() -> None:
    assert list(commands("web: x\n", demo=True)) == ["web", "sandbox", "demo"]


def test_workers_run_threads_without_mingle() -> None:
    workers = [line for line in PROCFILE.read_text().splitlines() if "celery" in line]
    assert len(workers) == 2
    assert all("-P threads" in line and "--without-mingle" in line for line in workers)


def test_the_procfile_of_the_project_is_found() -> None:
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
        # An unfinished line is printed when the program ends
        (r"half", "web    | half\n"),
        # Invalid UTF-8 is replaced
        (r"\xff\n", "web    | \ufffd\n"),
        ("", ""),
    ],
)
def test_each_line_carries_the_programs_name(written: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown(f"import sys; sys.stdout.buffer.write(b'{written}')")
    assert capsys.readouterr().out == printed
