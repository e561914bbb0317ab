"""Ends a worker or recorder that runs and does nothing, so that the platform starts another.

A Celery consumer that lost its broker sometimes comes back and consumes nothing. The process and its heartbeat look
well then. Ending the process loses nothing: its tasks come back when their leases end.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import structlog
from celery import signals
from celery.worker import state

from shared.errors import StoreUnavailable
from shared.process import service_manager
from shared.process.readiness import Check, LastTurn
from shared.queue import QueueDepth
from workers.process.liveness import Limits, Liveness, ProcessSample, problem, with_sample

#: The exit status of a process that gave up. It is not 0: some platforms would not start another one then.
EXIT_GAVE_UP = 70
SAMPLE_SECONDS = 5.0
#: After so long without a message taken, though one waits and a slot is free, the process is not ready.
DEAF_SECONDS = 15.0
#: Celery reconnects to a broker that is back after 30 s at the latest.
NOT_CONSUMING_SECONDS = 60.0
#: The time for a warm stop. After it the process ends at once, whatever it is stuck in.
GRACE_SECONDS = 30.0
log = structlog.get_logger()


class Watchdog:
    """A thread that watches the process of a Celery worker until it is told to stop."""

    def __init__(self, worker: Any, redis_url: str, *, stuck_seconds: float):
        self._worker = worker
        self._queue_depth = QueueDepth(redis_url, *worker.app.amqp.queues.consume_from)
        self._limits = Limits(interval=SAMPLE_SECONDS, not_consuming=NOT_CONSUMING_SECONDS, stuck=stuck_seconds)
        self._stopped = threading.Event()
        self._received = 0
        self._last_turn = LastTurn()
        self._liveness: Liveness | None = None
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        signals.task_received.connect(self._count)
        if self._worker.hub:
            self._worker.hub.on_tick.add(self._last_turn.note)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching: a process that stops rightly takes nothing from its queue."""
        self._stopped.set()

    def check(self) -> Check:
        """Whether the process consumes its queue: its event loop goes round, and it takes what waits."""
        if self._liveness is None:
            return False, "starts"
        if self._worker.hub and not (last_turn := self._last_turn.check())[0]:
            return last_turn
        deaf = self._liveness.not_consuming
        if deaf >= DEAF_SECONDS:
            return False, f"took no message in {deaf:.0f} s, though some wait"
        return True, "consumes"

    def _count(self, **_: Any) -> None:
        self._received += 1

    def _watch(self) -> None:
        self._liveness = liveness = Liveness(last=self._sample())
        while not self._stopped.wait(self._limits.interval):
            self._liveness = liveness = with_sample(liveness, self._sample(), self._limits)
            service_manager.notify(service_manager.ALIVE)
            if reason := problem(liveness, self._limits):
                self._give_up(reason)
                return

    def _sample(self) -> ProcessSample:
        return ProcessSample(
            at=time.monotonic(),
            waiting=self._waiting(),
            received=self._received,
            busy=len(state.reserved_requests),
            slots=self._worker.concurrency,
        )

    def _waiting(self) -> int | None:
        try:
            return self._queue_depth.count()
        except StoreUnavailable:
            return None

    def _give_up(self, reason: str) -> None:
        """Stop the process as TERM does, but with an exit status of its own. Kill it when that does not work."""
        log.critical(
            "worker_gives_up", reason=reason, next=f"it ends within {GRACE_SECONDS:g} s and is to be restarted"
        )
        signals.worker_shutting_down.send(sender=self._worker.hostname, sig="", how="Warm", exitcode=EXIT_GAVE_UP)
        state.should_stop = EXIT_GAVE_UP  # type: ignore[assignment]  # typed as None, its value until a stop is asked for
        if self._worker.hub:
            self._worker.hub.call_soon(_wake)
        time.sleep(GRACE_SECONDS)
        log.critical("worker_ends_by_force", reason="the stop it asked for did not end it")
        os._exit(EXIT_GAVE_UP)


def _wake() -> None:
    """Do nothing: the call itself ends the event loop's sleep, and the loop then sees that it is to stop."""
