"""Plain Celery workers that are started again when they end, and killed in the middle of their work."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.faults.control import textbook
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.faults.control.effects import Effects
    from bench.harness.platform import Platform

WORKS_WITHIN = 120.0  # seconds from start to the first effect; slack for a crowded machine
DIES_WITHIN = 10.0


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One worker: a name of its own, Celery's pool, and how many tasks it runs at once."""

    name: str
    pool: str
    slots: int


def start(platform: Platform, kinds: Sequence[Kind], *, python: str) -> None:
    """Run one worker of each kind with this interpreter's Celery."""
    for kind in kinds:
        options = ("-P", kind.pool, "-c", str(kind.slots), "-n", f"{kind.name}@%h", "-l", "ERROR")
        command = [python, textbook.__file__, "worker", *options, "--without-gossip", "--without-mingle"]
        platform.run(kind.name, command, WORKER=kind.name)


class Killer:
    """Kills workers of a platform. A kill counts once its process group is gone and the successor has done a task."""

    def __init__(self, platform: Platform, kinds: Sequence[Kind], effects: Effects) -> None:
        self._platform = platform
        self._names = [kind.name for kind in kinds]
        self._effects = effects
        self._waiting: set[str] = set()
        self.verified = 0

    @property
    def waiting(self) -> int:
        """The kills whose successor has not worked yet."""
        return len(self._waiting)

    def look(self) -> None:
        """Count the kills whose successor works now."""
        self._effects.read()
        back = {name for name in self._waiting if self._works(name)}
        self._waiting -= back
        self.verified += len(back)

    def kill(self) -> bool:
        """Kill one that works, any; False while none does."""
        self.look()
        able = [name for name in self._names if name not in self._waiting and self._works(name)]
        if not able:
            return False
        name = random.choice(able)
        group = self._platform.kill(name)
        if group is None:
            return False
        if not wait_until(lambda: _gone(group), DIES_WITHIN):
            raise RuntimeError(f"the process group {group} of {name} lives on after SIGKILL")
        self._waiting.add(name)
        return True

    def await_all(self) -> None:
        """Return when every worker works."""
        if not wait_until(self._all_work, WORKS_WITHIN):
            raise RuntimeError(f"no effect within {WORKS_WITHIN:g} s of one of {', '.join(self._names)}")

    def _all_work(self) -> bool:
        self.look()
        return all(map(self._works, self._names))

    def _works(self, name: str) -> bool:
        return any(process in self._effects.seen for process in self._platform.pids(name))


def _gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False
