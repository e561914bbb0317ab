"""Wakes Celery's event loop when a thread of the pool is done.

With the threads pool an acknowledgement is handed to the event loop, which sleeps up to ten seconds before it looks
(celery issue 6941): with one slot the next message waits that long. A byte through a pipe ends the sleep.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, bootsteps


class Waker(bootsteps.StartStopStep):
    """Makes `hub.call_soon`, which is what the threads use, end the loop's sleep."""

    requires = ("celery.worker.components:Hub",)

    def __init__(self, worker: Any, **_: Any):
        self._ends: tuple[int, int] | None = None
        super().__init__(worker)

    def start(self, worker: Any) -> None:
        """Watch the pipe for as long as the hub lives, also after it lost its broker."""
        hub = worker.hub
        if hub is None:
            return
        self._ends = reading, writing = os.pipe()
        for end in self._ends:
            os.set_blocking(end, False)
        call_soon = hub.call_soon

        def watch() -> None:
            if reading not in hub.readers:  # a hub that was reset has forgotten it
                hub.add_reader(reading, _drain, reading)

        def call_soon_and_wake(callback: Any, *args: Any) -> Any:
            called = call_soon(callback, *args)
            _ring(writing)
            return called

        hub.call_soon = call_soon_and_wake
        hub.on_tick.add(watch)
        watch()

    def stop(self, worker: Any) -> None:
        """Nothing to wake any more; the pipe goes with the process, since its last threads may still write."""


def add_waker(app: Celery) -> None:
    """Have every worker of this application wake up in time."""
    app.steps["worker"].add(Waker)


def _ring(writing: int) -> None:
    try:
        os.write(writing, b".")
    except BlockingIOError:
        return  # full of rings nobody has answered yet: the loop wakes anyway


def _drain(reading: int) -> None:
    try:
        while os.read(reading, 4096):
            pass
    except BlockingIOError:
        return
