"""Runs the processes of the Procfile as a hosting platform does, and starts again those that end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from bench.harness.processes import children_of, is_alive, wait_until
from console.up.child_processes import Guard

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from bench.harness.small_front import SmallFront

ROOT = Path(__file__).parents[2]
#: The only variables that processes inherit: a setting of the person who measures must not change the result.
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
#: The module of the Celery application that the Procfile names.
OUR_APP = "workers.app"
#: `release` runs once and ends; `console` serves people and no webhook.
NOT_NEEDED = {"release", "console"}
TICK = 0.05
#: A hosting platform notices an end after a moment.
RESTART_AFTER = 0.2
STOPS_WITHIN = 60.0
DIES_WITHIN = 10.0
#: A process loads its modules before it handles TERM; on a busy machine that takes this long.
HANDLES_TERM_AFTER = 8.0
SANDBOX_LISTENS_WITHIN = 90.0


def procfile_commands(*, pool: str = "threads", app: str = OUR_APP) -> dict[str, list[str]]:
    """Return the command of each process in the Procfile by its name; `pool` is Celery's, `app` the application."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    named = [(name, text.strip()) for name, _, text in (line.partition(":") for line in lines) if name]
    chosen = ((name, text.replace("-P threads", f"-P {pool}")) for name, text in named)
    return {name: ["/bin/sh", "-c", f"exec {text.replace(f'-A {OUR_APP}', f'-A {app}')}"] for name, text in chosen}


def inherited() -> dict[str, str]:
    """Return the variables that a process may inherit."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def base_environment() -> dict[str, str]:
    """Return the environment that every process starts with: inherited variables, and our programs first on PATH."""
    programs = os.path.dirname(sys.executable)  # noqa: PTH120 -- a symbolic link must not be followed
    kept = inherited()
    return {**kept, "PATH": os.pathsep.join([programs, kept.get("PATH", os.defpath)]), "PYTHONUNBUFFERED": "1"}


@dataclass
class Instance:
    """One process of a kind; `should_run` while it is to run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    terminated_at: float = 0.0
    ended_at: float = 0.0
    should_run: bool = True
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
    """Runs processes with one environment, their output in `folder`; `restarts` counts unasked ends by name."""

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
        """Start `count` processes of this kind; `environment` adds to that of the others or replaces it."""
        with self._lock:
            for _ in range(count):
                log = self._folder / f"{name}.log"
                instance = Instance(name, command, {**self.environment, **environment}, log)
                self._instances.append(instance)
                self._start(instance)

    def procfile(self, counts: Mapping[str, int], *, pool: str, app: str = OUR_APP) -> None:
        """Start the Procfile's processes that webhooks need, in these numbers; a kind without a number runs once.

        `pool` is Celery's pool: `threads`, as in the Procfile, or `prefork`. `app` is the module of the application.
        """
        for name, command in procfile_commands(pool=pool, app=app).items():
            if name not in NOT_NEEDED:
                self.run(name, command, counts.get(name, 1))

    def pids(self, *names: str) -> list[int]:
        """Return the processes that run now; only those of these kinds where any is named."""
        with self._lock:
            return [each.process.pid for each in self._running(*names) if each.process]

    def crash_at(self, name: str, point: str) -> None:
        """Restart the first process of this kind with a failpoint, from now on; with "" without one."""
        with self._lock:
            instance = next(each for each in self._instances if each.name == name)
            instance.environment = {**instance.environment, "MAILROOM_CRASH_AT": point}
            _kill_group(instance)

    def printed(self, name: str, text: str) -> int:
        """Count how often the processes of this kind have printed the text."""
        log = self._folder / f"{name}.log"
        return log.read_text(encoding="utf-8", errors="replace").count(text) if log.exists() else 0

    def kill(self, name: str) -> int | None:
        """SIGKILL a random one with all its children, and wait until it is gone.

        Returns its process id, or None when none runs at the moment.
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
        """SIGKILL a random child (`among` these), as a crash would; return its id, None without any."""
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
        """Stop all of these kinds (all kinds where none is named) with TERM; return the problems in words."""
        with self._lock:
            leaving = self._running(*names)
            for instance in leaving:
                instance.should_run = False
        return _stopped(leaving)

    def lose(self, *names: str) -> None:
        """SIGKILL all of these kinds for good, as the end of their machine does."""
        with self._lock:
            for instance in self._running(*names):
                instance.should_run = False
                _kill_group(instance)

    def restart(self, name: str) -> float:
        """Stop the oldest one with TERM and start it again; return the seconds until it had ended.

        Raises AssertionError when it does not end in time with status 0.
        """
        began = time.monotonic()
        with self._lock:
            instance = min(self._running(name), key=lambda each: each.started_at)
            instance.should_run = False
        problems = _stopped([instance])
        assert not problems, problems
        took = time.monotonic() - began
        with self._lock:
            instance.should_run = True
            self._start(instance)
        return took

    def _running(self, *names: str) -> list[Instance]:
        chosen = [each for each in self._instances if not names or each.name in names]
        return [each for each in chosen if each.should_run and each.process and each.process.poll() is None]

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
        if not instance.should_run or instance.process is None or (status := instance.process.poll()) is None:
            return
        if not instance.ended_at:
            _kill_group(instance)  # a child that is left would keep the port
            self._guard.forget(instance.process.pid)
            instance.ended_at = time.monotonic()
            instance.statuses.append(status)
            self.restarts[instance.name] += 1
        elif time.monotonic() - instance.ended_at > RESTART_AFTER:
            self._start(instance)


def _stopped(leaving: Sequence[Instance]) -> list[str]:
    """Send TERM to all, then wait for each. One that has hardly started may die of the signal itself."""
    problems = []
    for instance in leaving:
        instance.terminated_at = time.monotonic()
        if instance.process:
            instance.process.terminate()
    for instance in leaving:
        status = _status(instance)
        handles_term = instance.terminated_at - instance.started_at > HANDLES_TERM_AFTER
        if status != 0 and (handles_term or status != -signal.SIGTERM):
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


@dataclass(frozen=True, kw_only=True)
class Door:
    """The port that webhooks are sent to, and the key that signs them."""

    port: int
    signing_key: str


def start_sandbox(platform: Platform, front: SmallFront, door: Door, options: Sequence[str]) -> None:
    """Start the small Front on the port that `front` has, beside any door, and wait until it listens."""
    url = f"http://127.0.0.1:{door.port}/webhooks/front"
    own = ("--port", str(front.port), "--door", url, "--signing-key", door.signing_key, "--data", str(front.folder))
    platform.run("sandbox", [sys.executable, "-m", "sandbox", "serve", *own, *options])
    assert wait_until(front.listens, SANDBOX_LISTENS_WITHIN, every=0.1), "the sandbox does not listen"
