"""The recorder at a part of what waits: how fast, and at what cost in CPU."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.door.usage import cpu_seconds
from bench.harness.processes import wait_until
from bench.harness.procfile import ROOT
from workers.recording.prefetch import CHUNK

if TYPE_CHECKING:
    from bench.record.stage import Stage

RECORDED_WITHIN = 300.0
#: By then it runs at its speed.
WARM_UP = 0.1


@dataclass(frozen=True, kw_only=True)
class Moment:
    """How many webhooks were waiting, and what the recorder and PostgreSQL had used."""

    waiting: int
    at: float
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What was recorded between two moments. `depth`: how many waited when the recorder began."""

    depth: int
    begun: Moment
    ended: Moment

    @property
    def per_second(self) -> float:
        """Webhooks."""
        return self._recorded / (self.ended.at - self.begun.at)

    @property
    def cpu_us_per_event(self) -> float:
        """Of the recorder and PostgreSQL together."""
        return (self.ended.cpu_seconds - self.begun.cpu_seconds) / self._recorded * 1e6

    @property
    def _recorded(self) -> int:
        return self.begun.waiting - self.ended.waiting


def drained(stage: Stage, webhooks: int) -> Stretch:
    """Let the recorder run until so many are recorded and gone, and end it, in the midst of others maybe."""
    depth = stage.intake.depth()
    command = [sys.executable, "-m", "bench.record.drain", str(CHUNK)]
    with subprocess.Popen(
        command, cwd=ROOT, env=stage.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            _begin(process)
            begun = _when(stage, depth - round(webhooks * WARM_UP), process.pid)
            return Stretch(depth=depth, begun=begun, ended=_when(stage, depth - webhooks, process.pid))
        finally:
            process.kill()


def _begin(process: subprocess.Popen[bytes]) -> None:
    """Wait until it is ready, then let it go."""
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline(), "the recorder ended; what it printed says why"
    process.stdin.write(b"go\n")
    process.stdin.flush()


def _when(stage: Stage, waiting: int, pid: int) -> Moment:
    """The moment when no more than these are waiting: what has left the intake is committed."""
    assert wait_until(lambda: stage.intake.depth() <= waiting, RECORDED_WITHIN, every=0.01), "not recorded in time"
    used = cpu_seconds([pid]) + stage.postgres_cpu_seconds()
    return Moment(waiting=stage.intake.depth(), at=time.monotonic(), cpu_seconds=used)
