"""Kills Redis under plain Celery workers, and sees when each of them works again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from bench.faults.control.trial import Trial
    from console.up.embedded import Valkey

AWAY = 0.5  # seconds without Redis
CONSUMES_WITHIN = 120.0  # seconds after Redis is back; then the worker counts as deaf


class Outages:
    """`pauses`: seconds from Redis' return until each worker consumed again. `deaf`: how often one did not at all."""

    def __init__(self, trial: Trial, redis: Valkey) -> None:
        self.pauses: list[float] = []
        self.deaf = 0
        self._killed = 0
        self._trial = trial
        self._redis = redis

    @property
    def ended(self) -> int:
        """How many workers ended by themselves."""
        return self._trial.platform.restarts.total() - self._killed

    def kill(self) -> None:
        """Kill Redis and start it again; wait until every worker has consumed since."""
        self._redis.kill()
        time.sleep(AWAY)  # what was in work has ended: a later effect is of a message taken later
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
