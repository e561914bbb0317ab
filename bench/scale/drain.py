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
from workers.recording.recorder import CHUNK

if TYPE_CHECKING:
    from bench.record.stage import Stage

RECORDED_WITHIN = 300.0
#: By then it runs at its speed.
WARM_UP = 0.1


@dataclass(frozen=True, kw_only=True)
class Moment:
    """How many events there were, and what the recorder and PostgreSQL had used."""

    events: int
    at: float
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What was recorded between two moments, with so many waiting at the first."""

    depth: int
    begun: Moment
    ended: Moment

    @property
    def per_second(self) -> float:
        """Events."""
        return (self.ended.events - self.begun.events) / (self.ended.at - self.begun.at)

    @property
    def cpu_us_per_event(self) -> float:
        """Of the recorder and PostgreSQL together."""
        used = self.ended.cpu_seconds - self.begun.cpu_seconds
        return used / (self.ended.events - self.begun.events) * 1e6


def drained(stage: Stage, webhooks: int) -> Stretch:
    """Let the recorder run until so many webhooks more are rows, and end it, in the midst of others maybe."""
    before = stage.last_event()
    command = [sys.executable, "-m", "bench.record.drain", str(CHUNK)]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=stage.environment, **streams) as process:  # type: ignore[call-overload]
        try:
            process.stdout.readline()
            depth = stage.inbox.depth()
            process.stdin.write(b"go\n")
            process.stdin.flush()
            begun = _when(stage, before + round(webhooks * WARM_UP), process.pid)
            return Stretch(depth=depth, begun=begun, ended=_when(stage, before + webhooks, process.pid))
        finally:
            process.kill()


def _when(stage: Stage, events: int, pid: int) -> Moment:
    assert wait_until(lambda: stage.last_event() >= events, RECORDED_WITHIN, every=0.01), "not recorded in time"
    used = cpu_seconds([pid]) + stage.postgres_cpu_seconds()
    return Moment(events=stage.last_event(), at=time.monotonic(), cpu_seconds=used)
