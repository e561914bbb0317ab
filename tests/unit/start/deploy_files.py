"""The files by which Mailroom is deployed, as the tests read them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from console.up.up import commands

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
PROGRAMS = commands((ROOT / "Procfile").read_text(), demo=False)


def plain(command: str) -> list[str]:
    """Return the words of a command of the Procfile, with the defaults of its variables."""
    text = command.replace("${WEB_MODULE:-ingest}", "ingest").replace("${WORKER_THREADS:-16}", "16")
    return shlex.split(text.removeprefix("exec "))


def lint(program: str, *arguments: str | Path, folder: Path = ROOT) -> str:
    """Run a linter of our development packages. Fails with its output unless it ends with 0, and returns it."""
    line = [Path(sys.executable).with_name(program), *arguments]
    ended = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr
