"""Output of several programs on one screen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from console.up.runner import PrefixedOutput


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
