"""What a platform does with a Procfile: runs so many of each process, and starts again what ended."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import psutil

from bench.harness.processes import children_of, is_alive, wait_until
from bench.harness.procfile import ROOT, shipped
from console.up.child_processes import Guard

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from pathlib import Path

#: Runs once and ends; serves people and no webhook.
NOT_NEEDED = {"release", "console"}
TICK = 0.05
#: A platform takes a moment until it notices.
RESTART_AFTER = 0.2
STOPS_WITHIN = 60.0
DIES_WITHIN = 10.0
#: Until it can hear TERM, a process loads its modules; on a crowded machine that takes a while.
HAS_BEGUN_AFTER = 8.0


@dataclass
class Instance:
    """One process of a kind; `kept` while it is to run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    terminated_at: float = 0.0
    ended_at: float = 0.0
    kept: bool = True
    statuses: list[int] = field(default_factory=list)

    def spawn(self) -> None:
        """Start it in a process group of its own."""
        self.started_at, self.ended_at = time.monotonic(), 0.0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


class Platform:
    """Runs processes below one environment, their output in `folder`. `restarts` counts what ended unasked, by name."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.environment = dict(environment)
        self.restarts: Counter[str] = Counter()
        self._folder = folder
        self._instances: list[Instance] = []
        self._lock = threading.RLock()
        self._guard = Guard()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="platform", daemon=True)

    def __enter__(self) -> Self:
        self._guard.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for instance in self._instances:
            _kill_group(instance)
        self._guard.__exit__()

    def run(self, name: str, command: Sequence[str], count: int = 1, **environment: str) -> None:
        """Start `count` processes of this kind, with more or other environment than the rest."""
        with self._lock:
            for _ in range(count):
                log = self._folder / f"{name}.log"
                instance = Instance(name, command, {**self.environment, **environment}, log)
                self._instances.append(instance)
                self._start(instance)

    def procfile(self, counts: Mapping[str, int], *, pool: str) -> None:
        """Start the Procfile's processes in these numbers, all that webhooks need; kinds that are not named run once.

        `pool` is how Celery runs tasks: `threads`, as the Procfile has it, or `prefork`.
        """
        for name, command in shipped(pool=pool).items():
            if name not in NOT_NEEDED:
                self.run(name, command, counts.get(name, 1))

    def pids(self, *names: str) -> list[int]:
        """The processes that run now; of these kinds, where any is named."""
        with self._lock:
            return [each.process.pid for each in self._running(*names) if each.process]

    def crash_at(self, name: str, point: str) -> None:
        """Start the first of this kind from now on with a failpoint; with "" without. It is ended to be started so."""
        with self._lock:
            instance = next(each for each in self._instances if each.name == name)
            instance.environment = {**instance.environment, "MAILROOM_CRASH_AT": point}
            _kill_group(instance)

    def printed(self, name: str, text: str) -> int:
        """How often the processes of this kind have printed it."""
        log = self._folder / f"{name}.log"
        return log.read_text(encoding="utf-8", errors="replace").count(text) if log.exists() else 0

    def kill(self, name: str) -> int | None:
        """End one of them, any, with all of its children by SIGKILL, and return when it is seen to be gone.

        Its process id; None when none of them runs just now.
        """
        with self._lock:
            victims = self._running(name)
        if not victims or (process := random.choice(victims).process) is None:
            return None
        os.killpg(process.pid, signal.SIGKILL)
        gone = wait_until(lambda: process.poll() is not None, DIES_WITHIN)
        assert gone, f"{name} {process.pid} lives on after SIGKILL"
        return process.pid

    def kill_child(self, name: str, *, among: Container[int] | None = None) -> int | None:
        """End a child of one of them with SIGKILL, any (`among` these), as a crash would; its id, None without any."""
        children = [
            child for pid in self.pids(name) for child in children_of(pid) if among is None or child.pid in among
        ]
        if not children:
            return None
        victim = random.choice(children)
        with suppress(psutil.NoSuchProcess):
            victim.kill()
        gone = wait_until(lambda: not is_alive(victim), DIES_WITHIN)
        assert gone, f"{name}'s child {victim.pid} lives on after SIGKILL"
        return int(victim.pid)

    def stop(self, *names: str) -> list[str]:
        """TERM to all of these kinds (none named: all), and no new start; what went wrong, in words."""
        with self._lock:
            leaving = self._running(*names)
            for instance in leaving:
                instance.kept = False
        return _stopped(leaving)

    def restart(self, name: str) -> float:
        """TERM to one of them, the oldest, and a new start once it has ended; the seconds it took to end.

        Fails when it does not end in time, or not with status 0.
        """
        began = time.monotonic()
        with self._lock:
            instance = min(self._running(name), key=lambda each: each.started_at)
            instance.kept = False
        problems = _stopped([instance])
        assert not problems, problems
        took = time.monotonic() - began
        with self._lock:
            instance.kept = True
            self._start(instance)
        return took

    def _running(self, *names: str) -> list[Instance]:
        chosen = [each for each in self._instances if not names or each.name in names]
        return [each for each in chosen if each.kept and each.process and each.process.poll() is None]

    def _start(self, instance: Instance) -> None:
        instance.spawn()
        if instance.process:
            self._guard.watch(instance.process.pid, signal.SIGKILL)

    def _tend(self) -> None:
        while not self._stop.wait(TICK):
            with self._lock:
                for instance in self._instances:
                    self._look_after(instance)

    def _look_after(self, instance: Instance) -> None:
        if not instance.kept or instance.process is None or (status := instance.process.poll()) is None:
            return
        if not instance.ended_at:
            _kill_group(instance)  # what it left would keep its port
            self._guard.forget(instance.process.pid)
            instance.ended_at = time.monotonic()
            instance.statuses.append(status)
            self.restarts[instance.name] += 1
        elif time.monotonic() - instance.ended_at > RESTART_AFTER:
            self._start(instance)


def _stopped(leaving: Sequence[Instance]) -> list[str]:
    """TERM to all, then wait for each. One that has hardly begun may end by the signal itself."""
    problems = []
    for instance in leaving:
        instance.terminated_at = time.monotonic()
        if instance.process:
            instance.process.terminate()
    for instance in leaving:
        status = _status(instance)
        begun = instance.terminated_at - instance.started_at > HAS_BEGUN_AFTER
        if status != 0 and (begun or status != -signal.SIGTERM):
            problems.append(f"{instance.name} ended after TERM with status {status}, see {instance.log}")
    return problems


def _status(instance: Instance) -> int | None:
    assert instance.process
    try:
        return instance.process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        return None


def _kill_group(instance: Instance) -> None:
    if instance.process:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(instance.process.pid, signal.SIGKILL)
        instance.process.wait()
