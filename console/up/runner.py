"""Keeps programs and their servers running, and stops them without losing work.

One thread does it all: forking after a thread has started is not safe, and the kernel ties the death signal of a child
to the thread that forked it.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from console.up.embedded.spawn import Guard, spawn

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

CONFIGURATION = 78  # a program that ended so would only end so again
GRACE = 30.0  # seconds for running tasks to finish
STEADY = 60.0  # seconds of life after which earlier ends no longer count
LONGEST_PAUSE = 30.0
TICK = 0.1


class Runnable(Protocol):
    """Something that has to run: a program or a server."""

    process: subprocess.Popen[bytes] | None

    @property
    def name(self) -> str:
        """What people call it."""

    def spawn(self) -> None:
        """Start the process; return at once."""


class Program:
    """A command as the Procfile has it; its output is for us to show."""

    def __init__(self, name: str, command: str, *, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._environment = environment
        self._folder = folder

    def spawn(self) -> None:
        self.process = spawn(
            # As platforms do it: ${WORKER_THREADS:-16} is for the shell to fill in.
            ["/bin/sh", "-c", f"exec {self._command}"],
            environment=self._environment,
            output=subprocess.PIPE,
            # On SIGTERM a Celery worker lingers whose broker went in the same moment.
            on_our_death=signal.SIGKILL,
            folder=self._folder,
        )


class PrefixedOutput:
    """The lines of all followed processes, on our stdout."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._selector = selectors.DefaultSelector()
        self._rest: dict[int, bytes] = {}

    def follow(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Show this process's output too, if it has any for us."""
        if process.stdout:
            self._selector.register(process.stdout, selectors.EVENT_READ, name)

    def show(self, wait: float) -> bool:
        """Print what has come; wait for it at most `wait` seconds. False when nothing came."""
        ready = self._selector.select(wait)
        for key, _ in ready:
            self._take(key)
        return bool(ready)

    def close(self) -> None:
        """Print what is left, without waiting for whoever still holds a pipe."""
        while self.show(0):
            pass
        self._selector.close()

    def _take(self, key: selectors.SelectorKey) -> None:
        chunk = os.read(key.fd, 65536)
        *lines, rest = (self._rest.pop(key.fd, b"") + chunk).split(b"\n")
        if chunk:
            self._rest[key.fd] = rest
        else:
            lines += [rest] if rest else []
            self._selector.unregister(key.fileobj)
        for line in lines:
            print(f"{key.data:<{self._width}} | {line.decode(errors='replace').rstrip()}", flush=True)


def say(text: str) -> None:
    """Tell whoever started us something; stdout belongs to the programs."""
    print(text, file=sys.stderr, flush=True)


class StopRequests:
    """How often we were asked to stop: once is a request, twice is impatience."""

    def __init__(self) -> None:
        self.asked = 0

    def heed(self, _number: int, _frame: FrameType | None) -> None:
        self.asked += 1


@contextmanager
def stop_on_signals() -> Iterator[StopRequests]:
    """Count the signals inside instead of dying of them."""
    stop = StopRequests()
    before = {number: signal.signal(number, stop.heed) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def pause_before_restart(ends: int) -> float:
    """Seconds to wait before the start that follows the `ends`-th end in a row."""
    return min(2.0 ** (ends - 2), LONGEST_PAUSE)


@dataclass(kw_only=True)
class Run:
    """How one runnable is doing."""

    subject: Runnable
    since: float = 0.0
    ends: int = 0
    again_at: float | None = None


class Runner:
    """Runs programs on top of servers that run already."""

    def __init__(self, programs: Sequence[Program], servers: Sequence[Runnable], *, grace: float = GRACE) -> None:
        self._programs = [Run(subject=program) for program in programs]
        self._servers = [Run(subject=server, since=time.monotonic()) for server in servers]
        self._grace = grace
        self._output = PrefixedOutput(max((len(program.name) for program in programs), default=0))
        self._guard = Guard()

    def run(self, stop: StopRequests, ready: Callable[[], bool] = lambda: True) -> int:
        """Run until asked to stop (0), or until a program says that its configuration is wrong (78).

        `ready` is asked again and again until it says yes. Who asks twice does not wait for running tasks.
        """
        with self._guard:
            try:
                for run in self._servers:
                    self._register(run)
                for run in self._programs:
                    self._start(run)
                return self._watch(stop, ready)
            finally:
                self._stop(stop)

    def _watch(self, stop: StopRequests, ready: Callable[[], bool]) -> int:
        is_ready = False
        while not stop.asked:
            self._output.show(TICK)
            if any(self._tend(run) == CONFIGURATION for run in (*self._servers, *self._programs)):
                return CONFIGURATION
            is_ready = is_ready or ready()
        return 0

    def _tend(self, run: Run) -> int | None:
        """Start again what ended a while ago; give the status of what ended just now."""
        if run.again_at is not None:
            if time.monotonic() >= run.again_at:
                self._start(run)
            return None
        process = run.subject.process
        if process is None or (status := process.poll()) is None:
            return None
        self._settle(run, process, status)
        return status

    def _settle(self, run: Run, process: subprocess.Popen[bytes], status: int) -> None:
        now = time.monotonic()
        _kill_group(process)  # a server's own processes would keep its port
        self._guard.forget(process.pid)
        run.ends = 1 if now - run.since > STEADY else run.ends + 1
        pause = pause_before_restart(run.ends)
        run.again_at = now + pause
        if status == CONFIGURATION:
            say(f"{run.subject.name} ended: its configuration is wrong; stopping everything")
        else:
            say(f"{run.subject.name} ended ({_how(status)}); starting it again in {pause:g} s")

    def _start(self, run: Run) -> None:
        run.subject.spawn()
        run.since, run.again_at = time.monotonic(), None
        self._register(run)

    def _register(self, run: Run) -> None:
        if process := run.subject.process:
            self._guard.watch(process.pid, signal.SIGKILL if process.stdout else signal.SIGINT)
            self._output.follow(run.subject.name, process)

    def _stop(self, stop: StopRequests) -> None:
        """TERM to each leader only: sent to the whole group it would end a Celery pool in the middle of a task."""
        processes = [process for run in self._programs if (process := run.subject.process)]
        running = [process for process in processes if process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._grace
        while any(process.poll() is None for process in running):
            if time.monotonic() > deadline or stop.asked > 1:
                break
            self._output.show(TICK)
        for process in running:
            _kill_group(process)
            process.wait()
        self._output.close()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS says "not permitted" of a group of zombies
        os.killpg(process.pid, signal.SIGKILL)


def _how(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.Signals(-status).name
