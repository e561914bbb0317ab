"""Output is readable in each encoding, steers no terminal, and fits a page of 80 columns."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from console.cli.output import print_json, print_table, replace_unprintable

FOREIGN = "a\x1b[2J\x9b31m\u202egpj.exe\u200b\x7f\u2028é報告"


def printed(say: Callable[[], None], encoding: str = "utf-8") -> str:
    """Return the output on a terminal of this encoding."""
    written = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(written, encoding=encoding, write_through=True)):
        replace_unprintable()
        say()
        return written.getvalue().decode(encoding)


def test_json_escapes_what_a_terminal_obeys_or_hides_and_reads_the_same() -> None:
    text = printed(lambda: print_json({"filename": FOREIGN}))
    assert json.loads(text) == {"filename": FOREIGN}
    assert all(char.isprintable() for char in text.replace("\n", ""))
    assert "é報告" in text


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_json_escapes_letters_that_the_encoding_lacks(encoding: str) -> None:
    text = printed(lambda: print_json({"name": "Łukasz 🙂"}), encoding)
    assert r"\u0141ukasz \ud83d\ude42" in text
    assert json.loads(text) == {"name": "Łukasz 🙂"}


def test_a_table_replaces_letters_that_the_encoding_lacks() -> None:
    assert "?ukasz Zoë" in printed(lambda: print_table(("name",), [("Łukasz Zoë",)]), "latin-1")


def test_a_table_replaces_hidden_characters_and_keeps_spaces_and_joiners_of_the_writing() -> None:
    rows = [("a\u202eb\x9bc\u200bd",), ("علی‌رضا",), ("報告\u3000書",)]
    shown = printed(lambda: print_table(("name",), rows))
    assert [line.strip() for line in shown.splitlines()] == ["name", "a\ufffdb\ufffdc\ufffdd", "علی‌رضا", "報告\u3000書"]


def test_help_is_printed_in_an_encoding_without_its_signs() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "console", "tenant", "add", "--help"]
    shown = subprocess.run(command, capture_output=True, env=environment, check=True, cwd=Path(__file__).parents[3])
    assert b"--company cmp_?" in shown.stdout
