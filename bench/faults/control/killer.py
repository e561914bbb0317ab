"""Kills plain Celery workers in the middle of their work, and sees that it happened."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from bench.faults.control.trial import Trial

DIES_WITHIN = 10.0


class Killer:
    """A kill is verified once its whole process group is gone and the successor has done a task."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._waiting: set[str] = set()
        self.verified = 0

    @property
    def waiting(self) -> int:
        """The kills whose successor has not worked yet."""
        return len(self._waiting)

    def look(self) -> None:
        """Count the kills whose successor works now."""
        self._trial.effects.read()
        back = set(filter(self._trial.works, self._waiting))
        self._waiting -= back
        self.verified += len(back)

    def kill(self) -> None:
        """Kill one that works, any; nobody while none does."""
        self.look()
        able = [name for name in self._trial.names if name not in self._waiting and self._trial.works(name)]
        if able:
            self._kill(random.choice(able))

    def _kill(self, name: str) -> None:
        group = self._trial.platform.kill(name)
        if group is None:  # it ended by itself just now
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
