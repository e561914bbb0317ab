"""Plain Celery under the same faults: the control must lose tasks, and the pinned versions must survive Redis' loss."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import venv
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from bench.faults.control import Kind, Publisher, compare, trial
from bench.faults.result import Result
from bench.faults.run import Run
from bench.faults.textbook_celery import VISIBILITY_TIMEOUT
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.faults.control import Comparison, Trial
    from bench.faults.run import Suite
    from console.up.embedded import Valkey

#: Both pools are known to lose tasks. With several workers, the others go on while one starts again.
CONTROL_KINDS = (
    Kind(name="prefork", pool="prefork", slots=2),
    Kind(name="threads_1", pool="threads", slots=4),
    Kind(name="threads_2", pool="threads", slots=4),
)
SHORT, FULL = (1_000, 3), (60_000, 40)  # tasks, kills
PAUSE = 0.3  # seconds between two kills
DIES_WITHIN = 10.0

VERSION_KINDS = (Kind(name="prefork", pool="prefork", slots=4), Kind(name="threads", pool="threads", slots=4))
TASK_SECONDS = 0.02  # so that every kill of Redis meets unacknowledged messages
BETWEEN = 1.5  # seconds between two kills of Redis
AWAY = 0.5  # seconds without Redis
CONSUMES_WITHIN = 120.0  # seconds after Redis is back; a later worker counts as deaf

PACKAGES = ("celery", "kombu", "redis")
PINNED = tuple(f"{package}=={version(package)}" for package in PACKAGES)
NEWEST = ("celery[redis]", "kombu", "redis")


def control(suite: Suite) -> Result:
    """Kill plain Celery workers under load, wait until the broker is empty, and count the tasks without an effect."""
    tasks, kills = suite.pick(SHORT, FULL)
    with suite.servers.fresh() as (_, broker_url), trial(suite.folder / "control", broker_url, CONTROL_KINDS) as on:
        killer = Killer(on)
        with Publisher(broker_url) as publisher:
            on.await_all()
            while killer.verified < kills or len(publisher.acknowledged) < tasks:
                if killer.verified + killer.waiting < kills:
                    killer.kill()
                time.sleep(PAUSE)
                killer.count_returned()
        return _control_result(suite, on, publisher, kills=killer.verified, drained=on.drain())


def _control_result(suite: Suite, on: Trial, publisher: Publisher, *, kills: int, drained: float) -> Result:
    found = compare(publisher.acknowledged, on.effects.done)
    blind = suite.full and not found.lost
    seen = "plain Celery is meant to lose" if found.lost or suite.full else "too short to expect a loss"
    return Result(
        name="control",
        load=len(publisher.acknowledged),
        injected=kills,
        lost=len(found.lost),
        double=len(found.twice),
        ghost=len(found.unacknowledged),
        drain_seconds=round(drained, 1),
        note=f"{seen}; broker empty, visibility timeout {VISIBILITY_TIMEOUT} s",
        broken=("plain Celery lost nothing: this suite cannot see a loss",) if blind else (),
    )


class Killer:
    """Kills workers at work; a kill is verified once its process group is gone and the successor has done a task."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._waiting: set[str] = set()
        self.verified = 0

    @property
    def waiting(self) -> int:
        """The number of kills whose successor has done no task yet."""
        return len(self._waiting)

    def count_returned(self) -> None:
        """Count the kills whose successor has done a task by now."""
        self._trial.effects.read()
        back = set(filter(self._trial.works, self._waiting))
        self._waiting -= back
        self.verified += len(back)

    def kill(self) -> None:
        """Kill a random worker that works, if there is one."""
        self.count_returned()
        able = [name for name in self._trial.names if name not in self._waiting and self._trial.works(name)]
        if able:
            self._kill(random.choice(able))

    def _kill(self, name: str) -> None:
        group = self._trial.platform.kill(name)
        if group is None:  # it has just ended by itself
            return
        if not wait_until(lambda: _gone(group), DIES_WITHIN):
            raise RuntimeError(f"the process group {group} of {name} lives on after SIGKILL")
        self._waiting.add(name)


def _gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def compare_versions(suite: Suite) -> Iterator[Result]:
    """Test the installed versions; at full size the pinned and the newest ones, each in its own environment."""
    if not suite.full:
        yield redis_kills(suite, sys.executable, kills=2, pinned=True)
        return
    for name, requirements in (("pinned", PINNED), ("newest", NEWEST)):
        python = _environment(suite.folder / f"environment-{name}", requirements)
        yield redis_kills(suite, python, kills=20, pinned=name == "pinned")


def redis_kills(suite: Suite, python: str, *, kills: int, pinned: bool) -> Result:
    """Kill Redis under load, again and again, with workers of this interpreter."""
    folder = suite.folder / f"versions-{'pinned' if pinned else 'newest'}"
    with (
        suite.servers.fresh() as (_, broker_url),
        trial(folder, broker_url, VERSION_KINDS, python=python, task_seconds=TASK_SECONDS) as on,
    ):
        outages = Outages(on, suite.servers.valkey)
        with Publisher(broker_url) as publisher:
            on.await_all()
            for _ in range(kills):
                time.sleep(BETWEEN)
                outages.kill()
        drained = on.drain()
        shown = _version_result(_versions(python), outages, compare(publisher.acknowledged, on.effects.done), drained)
        load = len(publisher.acknowledged)
        return replace(shown, load=load, injected=kills, broken=shown.broken if pinned else ())


def _version_result(found: dict[str, str], outages: Outages, comparison: Comparison, drained: float) -> Result:
    words = " ".join(f"{package} {number}" for package, number in found.items())
    counts = {"ended by themselves": outages.ended, "went deaf": outages.deaf}
    counted = [f"{count} workers {what}" for what, count in counts.items()]
    return Result(
        name=f"versions_{found['celery']}",
        load=0,
        injected=0,
        lost=len(comparison.lost),
        double=len(comparison.twice),
        drain_seconds=round(drained, 1),
        longest_gap_seconds=round(max(outages.pauses), 1),
        note=f"{words}: {', '.join(counted)}",
        broken=tuple(words for words, count in zip(counted, counts.values(), strict=True) if count),
    )


class Outages:
    """Kills Redis and waits for every worker: `pauses` until each consumed again, `deaf` counts those that did not."""

    def __init__(self, trial: Trial, redis: Valkey) -> None:
        self.pauses: list[float] = []
        self.deaf = 0
        self._killed = 0
        self._trial = trial
        self._redis = redis

    @property
    def ended(self) -> int:
        """The number of workers that ended by themselves."""
        return self._trial.platform.restarts.total() - self._killed

    def kill(self) -> None:
        """Kill Redis, start it again, and wait until every worker has consumed since."""
        self._redis.kill()
        time.sleep(AWAY)  # running tasks end meanwhile, so a later effect is of a message consumed later
        self._redis.start()
        back = time.monotonic()
        for name in self._trial.names:
            self._await(name, back)

    def _await(self, name: str, back: float) -> None:
        if wait_until(lambda: self._last(name) > back, CONSUMES_WITHIN):
            self.pauses.append(self._last(name) - back)
            return
        self.pauses.append(CONSUMES_WITHIN)
        self.deaf += 1
        self._killed += self._trial.platform.kill(name) is not None

    def _last(self, name: str) -> float:
        self._trial.effects.read()
        return self._trial.effects.last[name]


class VersionsNotInstalled(Exception):
    """The package index did not provide the versions."""


def _environment(folder: Path, requirements: tuple[str, ...]) -> str:
    """Return the interpreter of a new environment with these packages, from the index that pip is configured for."""
    venv.create(folder, symlinks=True)
    python = str(folder / "bin" / "python")
    install = ("install", "--quiet", "--disable-pip-version-check", "--no-input", *requirements)
    done = subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], capture_output=True, check=False)
    if done.returncode:
        raise VersionsNotInstalled(
            f"pip could not install {', '.join(requirements)}: {done.stderr.decode()[-300:].strip()}"
        )
    return python


def _versions(python: str) -> dict[str, str]:
    """Return the versions that an interpreter has."""
    asked = f"from importlib.metadata import version; print(*map(version, {PACKAGES}))"
    shown = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    return dict(zip(PACKAGES, shown.stdout.split(), strict=True))


RUNS = (
    Run(
        name="control",
        promise="plain Celery under SIGKILL to its workers must lose at least one task at full size",
        do=control,
        in_ci=True,
    ),
    Run(
        name="versions",
        promise="the pinned versions of Celery survive the loss of Redis; the newest are shown beside them",
        do=compare_versions,
    ),
)
