"""What PostgreSQL and Valkey have in common when we run them ourselves."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from console.up.embedded.spawn import end
from shared.errors import MailroomError

if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Iterator


PATIENCE = 15.0  # seconds for a clean stop

START_WITHIN = 60.0  # seconds, recovery after a crash included
FAILS_AFTER = 3.0  # seconds in which a start is tried again: what a killed server left may still be going


class CannotStart(MailroomError):
    """An embedded server cannot be started; the message says what to do about it."""

    code = "cannot_start"

    @classmethod
    def see(cls, what: str, log: Path, setting: str) -> CannotStart:
        """Point at the log, with its last line, and at the setting that makes the server unnecessary."""
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return cls(f"{what}: {lines[-1] if lines else 'no output'} (see {log}, or set {setting})")


def end_leftover(pid_file: Path, mark: str) -> None:
    """Stop the process named in `pid_file` if its command line holds `mark`; forget a stranger's file.

    Call it only under the folder's lock: then nobody else can own that server.
    """
    pid = _pid_in(pid_file)
    if pid is None or not _command_line(pid):
        return  # PostgreSQL itself knows what to do with the file of a dead server
    if mark not in _command_line(pid):
        pid_file.unlink(missing_ok=True)  # the number was given to a stranger since
        return
    for number in (signal.SIGINT, signal.SIGKILL):
        os.kill(pid, number)
        if _gone(pid, mark):
            return


def _pid_in(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _command_line(pid: int) -> str:
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    shown = subprocess.run(["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()


def _gone(pid: int, mark: str) -> bool:
    deadline = time.monotonic() + PATIENCE
    while mark in _command_line(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class AlreadyRunning(MailroomError):
    """Another process works in this folder."""

    code = "already_running"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the folder; the kernel lets go when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"Mailroom is already running on {folder}") from None
        yield


def memory_bytes() -> int:
    """What this machine, or this container, has."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # not a container, or "max"
        return whole


class Server(ABC):
    """One embedded server. Its URL stays the same over `kill()` and `start()`; its data too when durable."""

    name: ClassVar[str]
    setting: ClassVar[str]
    stops_on: ClassVar[signal.Signals]
    process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """How a client connects."""

    @property
    @abstractmethod
    def log(self) -> Path:
        """Where the server's own words go."""

    @abstractmethod
    def spawn(self) -> None:
        """Start the process without waiting until it answers."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether a client is served now."""

    @property
    def pid(self) -> int:
        """The main process; only while it runs."""
        if self.process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> Self:
        """Start, unless it runs, and return when clients are served."""
        began = time.monotonic()
        if not self.running:
            self.spawn()
        while not self.answers():
            elapsed = time.monotonic() - began
            if elapsed > (START_WITHIN if self.running else FAILS_AFTER):
                self.stop()
                raise CannotStart.see(f"{self.name} did not start", self.log, self.setting)
            time.sleep(0.02)
            if not self.running:
                self.spawn()
        return self

    def stop(self) -> None:
        """Stop cleanly."""
        if self.process is not None:
            end(self.process, self.stops_on, grace=15)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL); `start()` brings it back."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
