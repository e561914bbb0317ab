"""One load of plain Celery: its workers, started again when they end, and the file of what they did."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.faults.control import textbook
from bench.faults.control.draining import drain
from bench.faults.control.effects import Effects
from bench.harness.mailroom import KEPT
from bench.harness.platform import Platform
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WORKS_WITHIN = 120.0  # seconds from start to the first effect; slack for a crowded machine


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One worker: a name of its own, Celery's pool, and how many tasks it runs at once."""

    name: str
    pool: str
    slots: int

    def command(self, python: str) -> list[str]:
        """How it is started with this interpreter's Celery."""
        options = ("-P", self.pool, "-c", str(self.slots), "-n", f"{self.name}@%h", "-l", "ERROR")
        return [python, textbook.__file__, "worker", *options, "--without-gossip", "--without-mingle"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a run of plain Celery works with."""

    broker_url: str
    names: Sequence[str]
    platform: Platform
    effects: Effects

    def works(self, name: str) -> bool:
        """Whether the process that runs under this name now has done a task, as far as was read."""
        return any(process in self.effects.seen for process in self.platform.pids(name))

    def await_all(self) -> None:
        """Return when every worker works."""
        if not wait_until(self._all_work, WORKS_WITHIN):
            raise RuntimeError(f"no effect within {WORKS_WITHIN:g} s of one of {', '.join(self.names)}")

    def drain(self) -> float:
        """Wait until the broker is empty and take in all effects; the seconds it took."""
        took = drain(self.broker_url)
        self.effects.read()
        return took

    def _all_work(self) -> bool:
        self.effects.read()
        return all(map(self.works, self.names))


@contextmanager
def trial(
    folder: Path, broker_url: str, kinds: Sequence[Kind], *, python: str = sys.executable, task_seconds: float = 0
) -> Iterator[Trial]:
    """Workers of these kinds, run by this interpreter's Celery; what is left of them ends with the context."""
    folder.mkdir(parents=True)
    effects = Effects(folder / "effects")
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    own = {"BROKER_URL": broker_url, "EFFECTS": str(effects.path), "TASK_SECONDS": str(task_seconds)}
    with Platform(kept | own, folder) as platform:
        for kind in kinds:
            platform.run(kind.name, kind.command(python), WORKER=kind.name)
        yield Trial(broker_url=broker_url, names=[kind.name for kind in kinds], platform=platform, effects=effects)
