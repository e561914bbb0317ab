"""Keep programs and their servers running, and stop them without losing work.

One thread does everything. Forking after a thread has started is not safe, and the kernel ties the death signal of a
child to the thread that forked it.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from console.up.child_processes import Guard, kill_group, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from shared.process.stopping import Stop

EXIT_CONFIGURATION = 78  # a program that ended with it would end with it again
GRACE_SECONDS = 30.0  # for running tasks to finish
STEADY_SECONDS = 60.0  # after so long a life, earlier ends no longer count
LONGEST_PAUSE = 30.0  # seconds
TICK_SECONDS = 0.1


class Runnable(Protocol):
    """A program or a server that has to run."""

    process: subprocess.Popen[bytes] | None

    @property
    def name(self) -> str:
        """Return the name for people."""

    def spawn(self) -> None:
        """Start the process and return at once."""


class Program:
    """A command of the Procfile; its output is a pipe to us."""

    def __init__(self, name: str, command: str, *, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._environment = environment
        self._folder = folder

    def spawn(self) -> None:
        """Start the command and return at once."""
        self.process = spawn(
            # The shell fills in ${WORKER_THREADS:-16}, as it does on a platform.
            ["/bin/sh", "-c", f"exec {self._command}"],
            environment=self._environment,
            output=subprocess.PIPE,
            # A Celery worker whose broker went in the same moment lingers on SIGTERM.
            on_our_death=signal.SIGKILL,
            folder=self._folder,
        )


@dataclass(kw_only=True)
class Supervision:
    """One runnable, when it started, and when it will be started again."""

    runnable: Runnable
    started_at: float = 0.0
    ends: int = 0  # in a row
    restart_at: float | None = None


class Runner:
    """Runs programs, and restarts what ends: the programs, and the servers that run already."""

    def __init__(self, programs: Sequence[Program], servers: Sequence[Runnable], *, grace: float = GRACE_SECONDS):
        self._programs = [Supervision(runnable=program) for program in programs]
        self._servers = [Supervision(runnable=server, started_at=time.monotonic()) for server in servers]
        self._grace = grace
        self._output = PrefixedOutput(max((len(program.name) for program in programs), default=0))
        self._guard = Guard()

    def run(self, stop: Stop, is_ready: Callable[[], bool] = lambda: True) -> int:
        """Run until `stop` is requested (0), or until a program says that its configuration is wrong (78).

        `is_ready` is called again and again until it returns True. A second request to stop cuts the wait for running
        tasks short.
        """
        with self._guard:
            try:
                for each in self._servers:
                    self._register(each)
                for each in self._programs:
                    self._start(each)
                return self._supervise(stop, is_ready)
            finally:
                self._stop_programs(stop)

    def _supervise(self, stop: Stop, is_ready: Callable[[], bool]) -> int:
        ready = False
        while not stop.is_set():
            self._output.print_pending(TICK_SECONDS)
            if any(self._check(each) == EXIT_CONFIGURATION for each in (*self._servers, *self._programs)):
                return EXIT_CONFIGURATION
            ready = ready or is_ready()
        return 0

    def _check(self, supervision: Supervision) -> int | None:
        """Restart the process if its pause is over; return the status of a process that has just ended."""
        if supervision.restart_at is not None:
            if time.monotonic() >= supervision.restart_at:
                self._start(supervision)
            return None
        process = supervision.runnable.process
        if process is None or (status := process.poll()) is None:
            return None
        self._plan_restart(supervision, process, status)
        return status

    def _plan_restart(self, supervision: Supervision, process: subprocess.Popen[bytes], status: int) -> None:
        now = time.monotonic()
        kill_group(process)  # a server's child processes would keep its port
        self._guard.forget(process.pid)
        supervision.ends = 1 if now - supervision.started_at > STEADY_SECONDS else supervision.ends + 1
        pause = pause_before_restart(supervision.ends)
        supervision.restart_at = now + pause
        name = supervision.runnable.name
        if status == EXIT_CONFIGURATION:
            say(f"{name} ended: its configuration is wrong; stopping everything")
        else:
            say(f"{name} ended ({_status_text(status)}); starting it again in {pause:g} s")

    def _start(self, supervision: Supervision) -> None:
        supervision.runnable.spawn()
        supervision.started_at, supervision.restart_at = time.monotonic(), None
        self._register(supervision)

    def _register(self, supervision: Supervision) -> None:
        if process := supervision.runnable.process:
            self._guard.watch(process.pid, signal.SIGKILL if process.stdout else signal.SIGINT)
            self._output.follow(supervision.runnable.name, process)

    def _stop_programs(self, stop: Stop) -> None:
        """Send TERM to the leaders only: a whole group would take it to a Celery pool in the middle of a task."""
        processes = [process for each in self._programs if (process := each.runnable.process)]
        running = [process for process in processes if process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._grace
        while any(process.poll() is None for process in running):
            if time.monotonic() > deadline or stop.requests > 1:
                break
            self._output.print_pending(TICK_SECONDS)
        for process in running:
            kill_group(process)
            process.wait()
        self._output.close()


def pause_before_restart(ends: int) -> float:
    """Return the seconds to wait after so many ends in a row."""
    return min(2.0 ** (ends - 2), LONGEST_PAUSE)


class PrefixedOutput:
    """Prints the lines of all followed processes on our stdout, each behind its process's name."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._selector = selectors.DefaultSelector()
        self._unfinished: dict[int, bytes] = {}  # a line without its end, by file descriptor

    def follow(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Print this process's output from now on, if it is a pipe to us."""
        if process.stdout:
            self._selector.register(process.stdout, selectors.EVENT_READ, name)

    def print_pending(self, seconds: float) -> bool:
        """Print what has arrived; wait for it at most `seconds`. False if nothing arrived."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            self._print_from(key)
        return bool(ready)

    def close(self) -> None:
        """Print the rest, without waiting for a process that still holds a pipe open."""
        while self.print_pending(0):
            pass
        self._selector.close()

    def _print_from(self, key: selectors.SelectorKey) -> None:
        chunk = os.read(key.fd, 65536)
        *lines, rest = (self._unfinished.pop(key.fd, b"") + chunk).split(b"\n")
        if chunk:
            self._unfinished[key.fd] = rest
        else:
            lines += [rest] if rest else []
            self._selector.unregister(key.fileobj)
        for line in lines:
            print(f"{key.data:<{self._width}} | {line.decode(errors='replace').rstrip()}", flush=True)


def say(text: str) -> None:
    """Print a line about `mailroom up` itself to stderr; stdout belongs to the programs."""
    print(text, file=sys.stderr, flush=True)


def _status_text(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.Signals(-status).name
