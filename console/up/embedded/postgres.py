"""Run PostgreSQL on a Unix socket that only we can reach.

PostgreSQL refuses to run as root. If we are root, it runs under an account without rights, and its data and programs
move to folders that this account can reach.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg

from console.up.child_processes import spawn
from console.up.embedded.server import CannotStart, Server, end_leftover, memory_bytes, postgres_folder

DATABASE = "mailroom"
SOCKETS = Path("/tmp")  # noqa: S108 - a socket's path has about 100 bytes; the folder's owner is checked
PORT = "5432"  # only names the socket; given on both sides so that PGPORT changes neither
REACHABLE = Path("/var/tmp")  # noqa: S108 - survives a restart; folders are made fresh or their owner is checked
# Options without `durable`: a commit survives SIGKILL, since the kernel has it, but no power cut.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}
MIB = 2**20


class Postgres(Server):
    """A PostgreSQL with its data below `folder`, in one cluster for each major version."""

    name = "PostgreSQL"
    setting = "DATABASE_URL"
    stop_signal = signal.SIGINT  # "fast": ends the sessions, then makes a checkpoint

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.durable = durable
        self._account = _unprivileged_account()
        self._programs = _reachable_programs(postgres_folder(), self._account)
        self.folder = _reachable_data(folder.resolve(), self._account)
        self._data = self.folder / f"pgdata-{_major_version(self._programs)}"
        self._sockets = SOCKETS / f"mailroom-{hashlib.sha256(os.fsencode(self._data)).hexdigest()[:12]}"

    @property
    def url(self) -> str:
        """Return the URL of our database."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Return the URL of another database in the same server."""
        return f"postgresql://postgres@/{database}?host={self._sockets}&port={PORT}"

    @property
    def log(self) -> Path:
        """Return the path of the server's own log."""
        return self.folder / "postgres.log"

    def start(self) -> Self:
        """Start it, and return when it serves clients and our database exists. Raises CannotStart."""
        super().start()
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as conn:
            if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                conn.execute(f"CREATE DATABASE {DATABASE}")
        return self

    def spawn(self) -> None:
        """Start the process without waiting; make the cluster first if there is none."""
        self._make_folder(self._sockets)
        if not self._data.exists():
            self._initialise()
        end_leftover(self._data / "postmaster.pid", str(self._data))
        options = {"listen_addresses": "", "port": PORT, "unix_socket_directories": str(self._sockets)}
        options |= {"shared_buffers": f"{buffers_mib(memory_bytes())}MB"} if self.durable else NOT_DURABLE
        self.process = self._launch("postgres", self._data, *(f"-c{key}={value}" for key, value in options.items()))

    def answers(self) -> bool:
        """Whether it accepts a connection now."""
        try:
            psycopg.connect(self.url_of("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop it cleanly, and remove the folder of its socket."""
        super().stop()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _initialise(self) -> None:
        """Make the cluster under another name first, so that an interrupted one is not taken for a complete one."""
        unfinished = self._data.with_name(self._data.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._make_folder(unfinished)
        speed = () if self.durable else ("--no-sync",)
        basics = ("-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        if self._launch("initdb", unfinished, *basics, *speed).wait():
            raise CannotStart.with_log("PostgreSQL could not make its data folder", self.log, self.setting)
        unfinished.rename(self._data)

    def _launch(self, program: str, data: Path, *arguments: str) -> subprocess.Popen[bytes]:
        # PGDATA, PGPORT and the like would change what the server does.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        self.log.touch(mode=0o600)
        with self.log.open("ab") as log:
            return spawn(
                [self._programs / program, "-D", data, *arguments],
                environment=environment | {"LC_ALL": "C"},
                output=log,
                on_our_death=signal.SIGINT,
                folder=Path("/"),
                **(self._account.options if self._account else {}),
            )

    def _make_folder(self, folder: Path) -> None:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if self._account:
                os.chown(folder, self._account.uid, self._account.gid)
        _refuse_foreign(folder, owner=self._account.uid if self._account else os.geteuid())


def buffers_mib(memory: int) -> int:
    """Return the size of PostgreSQL's own cache: a sixteenth of the memory, between 128 MiB and 1 GiB.

    128 MiB is PostgreSQL's default. With it, the indexes of a million events are read and written back again and again.
    """
    return min(max(memory // 16 // MIB, 128), 1024)


@dataclass(frozen=True, kw_only=True)
class _Account:
    """An account without rights."""

    uid: int
    gid: int

    @property
    def options(self) -> dict[str, Any]:
        """Return the options with which `subprocess` runs a program as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_run(self, program: str | Path, *arguments: str | Path) -> bool:
        """Whether the program, run as this account, ends with status 0."""
        try:
            ended = subprocess.run([program, *arguments], cwd="/", capture_output=True, check=False, **self.options)
        except OSError:
            return False
        return ended.returncode == 0

    def can_enter(self, folder: Path) -> bool:
        """Whether this account can change into the folder."""
        return self.can_run("/bin/sh", "-c", 'cd "$0"', folder)


def _unprivileged_account() -> _Account | None:
    """Return the account for PostgreSQL: `postgres` or `nobody` if we are root, else None for our own."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise CannotStart("root, and no unprivileged account to run PostgreSQL as: set DATABASE_URL")


def _reachable_data(base: Path, account: _Account | None) -> Path:
    """Return the folder for data: `base`, or a new one elsewhere if the account cannot enter `base`.

    A note in `base` names the other folder, so that deleting `base` also forgets the data. No parent's mode changes.
    """
    note = base / "postgres-folder"
    if account and note.exists():
        return _passable_folder(Path(note.read_text()))
    if account is None or account.can_enter(base):
        return base
    folder = REACHABLE / f"mailroom-{secrets.token_hex(6)}"
    note.write_text(str(folder))
    return _passable_folder(folder)


def _reachable_programs(folder: Path, account: _Account | None) -> Path:
    """Return the folder of the programs, or a copy of it if the account cannot run them there."""
    if account is None or account.can_run(folder / "postgres", "--version"):
        return folder
    installation = folder.parent  # <package>/pginstall; its libraries are in <package>.libs
    stamp = f"{installation}{(folder / 'postgres').stat().st_mtime_ns}"
    home = _passable_folder(REACHABLE / "mailroom-programs")
    copy = home / hashlib.sha256(stamp.encode()).hexdigest()[:12]
    if not copy.exists():
        _copy_installation(installation, copy)
    return copy / installation.parent.name / installation.name / folder.name


def _passable_folder(folder: Path) -> Path:
    """Make a folder that other accounts may pass through; refuse one that somebody else prepared."""
    folder.mkdir(mode=0o711, exist_ok=True)
    _refuse_foreign(folder, owner=os.geteuid())
    folder.chmod(0o711)
    return folder


def _refuse_foreign(folder: Path, *, owner: int) -> None:
    if folder.is_symlink() or folder.stat().st_uid != owner:
        raise CannotStart(f"{folder} belongs to someone else: remove it, or set DATABASE_URL")


def _copy_installation(installation: Path, target: Path) -> None:
    package = installation.parent
    unfinished = Path(tempfile.mkdtemp(dir=target.parent))
    shutil.copytree(installation, unfinished / package.name / installation.name, symlinks=True)
    libraries = package.with_name(package.name + ".libs")  # the programs find it by a relative path
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name)
    subprocess.run(["/bin/chmod", "-R", "a+rX", unfinished], check=True)
    unfinished.rename(target)


def _major_version(programs: Path) -> str:
    shown = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\) (\d+)", shown.stdout)
    if not found:
        raise CannotStart(f"{programs / 'postgres'} does not tell its version: {shown.stdout!r}")
    return found[1]
