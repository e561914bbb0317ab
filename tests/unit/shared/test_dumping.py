"""The program that dumps is chosen by its version, and its errors name neither host nor rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.db.dumping import DumpFailed, Program, find_program, load
from shared.errors import ConfigurationError


@pytest.fixture(autouse=True)
def nothing_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin/nowhere")


def installed(folder: Path, major: int, does: str = "exit 0") -> Path:
    """Install a pg_dump that tells its version; without it, it `does` something else."""
    place = folder / str(major)
    place.mkdir()
    for name in ("pg_dump", "pg_restore"):
        script = place / name
        version = f'echo "{name} (PostgreSQL) {major}.6 (Debian {major}.6-1)"; exit'
        script.write_text(f'#!/bin/sh\ncase "$1" in --version) {version};; esac\n{does}\n')
        script.chmod(0o755)
    return place


def test_the_oldest_program_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    folders = [installed(tmp_path, major) for major in (18, 15, 17)]
    assert find_program("pg_dump", folders, at_least=16) == Program(path=tmp_path / "17" / "pg_dump", major=17)


def test_a_missing_program_is_named_with_its_package(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="pg_dump of PostgreSQL 18 or newer was not found: install postgresql-"
    ):
        find_program("pg_dump", [tmp_path], at_least=18)
    with pytest.raises(ConfigurationError, match="newer was not found, only of 16: install postgresql-client-18, or"):
        find_program("pg_dump", [installed(tmp_path, 16)], at_least=18)


REFUSED = """\
pg_restore: error: connection to server at "db.internal" (10.0.0.7), port 5432 failed: FATAL:  no such role
"""
WITH_A_ROW = """\
pg_restore: while PROCESSING TOC:
pg_restore: error: could not execute query: ERROR:  no space left
DETAIL:  Key (address)=(nora@acme.example)
"""


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (REFUSED, "FATAL:  no such role"),
        (WITH_A_ROW, "could not execute query: ERROR:  no space left"),
        ("", "it says no reason"),
    ],
)
def test_an_error_is_repeated_without_host_and_rows(tmp_path: Path, output: str, reason: str) -> None:
    folder = installed(tmp_path, 18, f"/bin/cat >&2 <<'END'\n{output}\nEND\nexit 1")
    program = find_program("pg_restore", [folder], at_least=18)
    with pytest.raises(DumpFailed) as failed:
        load(program, "postgresql://u@h/d", tmp_path / "dump", schema="public")
    assert str(failed.value) == f"pg_restore failed ({reason}); nothing more was done"


def test_a_password_is_no_argument(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    folder = installed(tmp_path, 18, f'echo "$@" >{seen}; echo "$PGPASSWORD" >>{seen}')
    program = find_program("pg_restore", [folder], at_least=18)
    load(program, "postgresql://u:s3cret@h/d", tmp_path / "dump", schema="public")
    arguments, password = seen.read_text().splitlines()
    assert "s3cret" not in arguments
    assert "user=u" in arguments
    assert password == "s3cret"
