"""Ends a worker or recorder that lives and does nothing, so that the platform starts another.

A Celery consumer that lost its broker has been seen to come back and consume nothing, while the process and its
heartbeat look well. Nothing is lost by ending it: what it held comes back when its lease ends.
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
from shared.queue import QueueDepth
from workers.process.liveness import Look, Patience, Watched, complaint, watch

#: The status of a process that gave itself up: not 0, or some platforms would leave it at that.
EXIT_GAVE_UP = 70
LOOK_SECONDS = 5.0
#: Celery tries to reach a broker that is back every 30 s at the latest.
DEAF_SECONDS = 60.0
#: For a warm stop; then the process ends itself, whatever it is stuck in.
GRACE_SECONDS = 30.0
log = structlog.get_logger()


class Watchdog:
    """A thread that looks after the process of a Celery worker until that is to stop."""

    def __init__(self, worker: Any, redis_url: str, *, stuck_seconds: float):
        self._worker = worker
        self._queued = QueueDepth(redis_url, *worker.app.amqp.queues.consume_from)
        self._patience = Patience(look=LOOK_SECONDS, deaf=DEAF_SECONDS, stuck=stuck_seconds)
        self._stopped = threading.Event()
        self._received = 0
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        signals.task_received.connect(self._count)
        self._thread.start()

    def stop(self) -> None:
        """A stopping process takes nothing from its queue, and that is right."""
        self._stopped.set()

    def _count(self, **_: Any) -> None:
        self._received += 1

    def _watch(self) -> None:
        watched = Watched(last=self._look())
        while not self._stopped.wait(self._patience.look):
            watched = watch(watched, self._look(), self._patience)
            if reason := complaint(watched, self._patience):
                self._give_up(reason)
                return

    def _look(self) -> Look:
        return Look(
            at=time.monotonic(),
            waiting=self._waiting(),
            received=self._received,
            busy=len(state.reserved_requests),
            slots=self._worker.concurrency,
        )

    def _waiting(self) -> int | None:
        try:
            return self._queued.count()
        except StoreUnavailable:
            return None

    def _give_up(self, reason: str) -> None:
        """A stop like after TERM, but with a status that says why; by force when even that does not work any more."""
        log.critical(
            "worker_gives_up", reason=reason, next=f"it ends within {GRACE_SECONDS:g} s and is to be restarted"
        )
        signals.worker_shutting_down.send(sender=self._worker.hostname, sig="", how="Warm", exitcode=EXIT_GAVE_UP)
        state.should_stop = EXIT_GAVE_UP  # type: ignore[assignment]  # None until somebody asks
        if self._worker.hub:
            self._worker.hub.call_soon(_look_up)
        time.sleep(GRACE_SECONDS)
        log.critical("worker_ends_by_force", reason="the stop it asked for did not end it")
        os._exit(EXIT_GAVE_UP)


def _look_up() -> None:
    """Ends the event loop's sleep (`workers.process.waking`); the loop then sees that it is to stop."""
