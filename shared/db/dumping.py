"""Dumps our schema to a file and loads it again, with PostgreSQL's own programs.

The programs must be as new as the server. They get the password by the environment, because other users of the machine
see the arguments of a process.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from shared.db.core.pool import Connection
from shared.errors import ConfigurationError, MailroomError

#: Migrations are restored last, by hand: no process works on a database that has none.
MIGRATIONS_TABLE = "schema_migrations"
_VERSION = re.compile(r"\) (\d+)")
_LONGEST_REASON = 200  # characters


class DumpFailed(MailroomError):
    """pg_dump or pg_restore ended with an error, which the message repeats."""

    code = "dump_failed"


@dataclass(frozen=True, kw_only=True)
class Program:
    """pg_dump or pg_restore on this machine, and the major version of PostgreSQL that it belongs to."""

    path: Path
    major: int


def find_program(name: str, folders: Iterable[Path], *, at_least: int) -> Program:
    """Return the oldest program of this name, in `folders` or on PATH, that serves the major version `at_least`.

    Raises ConfigurationError, which says what to install.
    """
    paths = [folder / name for folder in folders]
    if on_path := shutil.which(name):
        paths.append(Path(on_path))
    found = [program for path in paths if (program := _program(path))]
    fitting = [program for program in found if program.major >= at_least]
    if not fitting:
        older = f", only of {max(each.major for each in found)}" if found else ""
        raise ConfigurationError(
            f"{name} of PostgreSQL {at_least} or newer was not found{older}: install postgresql-client-{at_least}, or "
            "Mailroom with its extra `embedded`"
        )
    return min(fitting, key=lambda program: program.major)


def dump(program: Program, url: str, file: Path, *, schema: str, snapshot: str) -> None:
    """Write the schema, as an exported snapshot shows it, to a file. Raises DumpFailed.

    Left out are the rows of the migrations table, and those of unlogged tables, which no crash survives either.
    """
    file.touch(mode=0o600)  # pg_dump itself would let all read it
    _run(
        program,
        url,
        "--format=custom",
        "--compress=1",  # bodies are compressed already
        "--no-owner",
        "--no-privileges",
        "--no-unlogged-table-data",
        "--lock-wait-timeout=60000",
        f'--schema="{schema}"',
        f'--exclude-table-data="{schema}".{MIGRATIONS_TABLE}',
        f"--snapshot={snapshot}",
        f"--file={file}",
    )


def load(program: Program, url: str, file: Path, *, schema: str) -> None:
    """Load a dump into an empty schema of the same name, in one transaction. Raises DumpFailed."""
    _run(
        program,
        url,
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
        f"--schema={schema}",
        str(file),
    )


def server_major(conn: Connection) -> int:
    """Return the major version of the server."""
    return conn.info.server_version // 10_000


def _run(program: Program, url: str, *arguments: str) -> None:
    options: dict[str, Any] = conninfo_to_dict(url)
    password = options.pop("password", None)
    environment = os.environ | {"LC_ALL": "C"} | ({"PGPASSWORD": str(password)} if password else {})
    dbname = f"--dbname={make_conninfo(**options, application_name=f'mailroom {program.path.name}')}"
    ended = subprocess.run(
        [program.path, dbname, "--no-password", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode:
        raise DumpFailed(f"{program.path.name} failed ({_reason(ended.stderr)}); nothing more was done")


def _reason(output: str) -> str:
    """Return the first error without the part that may name the host. Later lines may repeat rows."""
    first = next((line for line in output.splitlines() if "error:" in line), "it says no reason")
    return first.rpartition("failed: ")[2].rpartition("error: ")[2][:_LONGEST_REASON]


def _program(path: Path) -> Program | None:
    """Return the program with its version; None when it cannot be run here."""
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = _VERSION.search(shown)
    return Program(path=path, major=int(found[1])) if found else None
