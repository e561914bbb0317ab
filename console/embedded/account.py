"""Whom PostgreSQL runs as when we are root, and where that account can work."""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.embedded.failure import CannotStart

ELSEWHERE = Path("/var/tmp")  # noqa: S108 - survives a restart; folders are made fresh or their owner is checked


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
