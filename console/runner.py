"""Keeps programs and their servers running, and stops them without losing work.

One thread does it all: forking after a thread has started is not safe, and the kernel ties the death signal of a child
to the thread that forked it.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.embedded.guard import Guard
from console.prefixed import PrefixedOutput, say

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    from console.program import Program, Runnable
    from console.stopping import Stop

CONFIGURATION = 78  # a program that ended so would only end so again
GRACE = 30.0  # seconds for running tasks to finish
STEADY = 60.0  # seconds of life after which earlier ends no longer count
LONGEST_PAUSE = 30.0
TICK = 0.1


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

    def run(self, stop: Stop, ready: Callable[[], bool] = lambda: True) -> int:
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

    def _watch(self, stop: Stop, ready: Callable[[], bool]) -> int:
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

    def _stop(self, stop: Stop) -> None:
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
