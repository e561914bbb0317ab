"""One load of plain Celery: its workers on a platform of their own, and the file of what they did."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.faults.control import workers
from bench.faults.control.draining import drain
from bench.faults.control.effects import Effects
from bench.harness.mailroom import KEPT
from bench.harness.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.faults.control.workers import Kind


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a run of plain Celery works with."""

    broker_url: str
    platform: Platform
    effects: Effects

    def drain(self) -> float:
        """Wait until the broker is empty and take in all effects; the seconds it took."""
        took = drain(self.broker_url)
        self.effects.read()
        return took


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
        workers.start(platform, kinds, python=python)
        yield Trial(broker_url=broker_url, platform=platform, effects=effects)
