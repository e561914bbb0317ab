"""Runs PostgreSQL on a socket that only we can reach."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

import psycopg

from console.up.embedded.programs import postgres_folder, reachable_data, reachable_programs, unprivileged
from console.up.embedded.server import CannotStart, Server, end_leftover, memory_bytes
from console.up.embedded.spawn import spawn

SOCKETS = Path("/tmp")  # noqa: S108 - a socket's path has about 100 bytes; the folder's owner is checked
DATABASE = "mailroom"
PORT = "5432"  # only names the socket; given on both sides so that PGPORT changes neither
# Without `durable` a commit survives SIGKILL (the kernel has it) but no power cut.
MIB = 2**20
FAST = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}


class Postgres(Server):
    """A PostgreSQL of our own in `folder`, one cluster for each major version."""

    name = "PostgreSQL"
    setting = "DATABASE_URL"
    stops_on = signal.SIGINT  # fast: ends sessions, then a checkpoint

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.durable = durable
        self._account = unprivileged()
        self._programs = reachable_programs(postgres_folder(), self._account)
        self.folder = reachable_data(folder.resolve(), self._account)
        self._data = self.folder / f"pgdata-{_major_version(self._programs)}"
        self._sockets = SOCKETS / f"mailroom-{hashlib.sha256(os.fsencode(self._data)).hexdigest()[:12]}"

    @property
    def url(self) -> str:
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The URL of another database in the same server."""
        return f"postgresql://postgres@/{database}?host={self._sockets}&port={PORT}"

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    def start(self) -> Self:
        """Start and return when clients are served and our database exists."""
        super().start()
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as conn:
            if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                conn.execute(f"CREATE DATABASE {DATABASE}")
        return self

    def spawn(self) -> None:
        self._make_folder(self._sockets)
        if not self._data.exists():
            self._initialise()
        end_leftover(self._data / "postmaster.pid", str(self._data))
        options = {"listen_addresses": "", "port": PORT, "unix_socket_directories": str(self._sockets)}
        options |= {"shared_buffers": f"{buffers_mib(memory_bytes())}MB"} if self.durable else FAST
        self.process = self._launch("postgres", self._data, *(f"-c{key}={value}" for key, value in options.items()))

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url_of("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _initialise(self) -> None:
        """Make the cluster under another name first: an interrupted one is not taken for a whole one."""
        half_made = self._data.with_name(self._data.name + ".new")
        shutil.rmtree(half_made, ignore_errors=True)
        self._make_folder(half_made)
        speed = () if self.durable else ("--no-sync",)
        basics = ("-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        if self._launch("initdb", half_made, *basics, *speed).wait():
            raise CannotStart.see("PostgreSQL could not make its data folder", self.log, self.setting)
        half_made.rename(self._data)

    def _launch(self, program: str, data: Path, *arguments: str) -> subprocess.Popen[bytes]:
        # PGDATA, PGPORT and their like would change what the server does.
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
        owner = self._account.uid if self._account else os.geteuid()
        if folder.is_symlink() or folder.stat().st_uid != owner:
            raise CannotStart(f"{folder} belongs to someone else: remove it, or set DATABASE_URL")


def buffers_mib(memory: int) -> int:
    """PostgreSQL's own cache: a sixteenth of the memory, at most 1 GiB; never less than its own choice, 128 MiB.

    With the latter, indexes of a million events are read and written back again and again.
    """
    return min(max(memory // 16 // MIB, 128), 1024)


def _major_version(programs: Path) -> str:
    shown = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\) (\d+)", shown.stdout)
    if not found:
        raise CannotStart(f"{programs / 'postgres'} does not tell its version: {shown.stdout!r}")
    return found[1]
