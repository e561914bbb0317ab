"""Wakes Celery's event loop when a thread of the pool is done.

With the threads pool, threads hand acknowledgements to the event loop. The loop may sleep for ten seconds before it
looks (celery issue 6941). With one slot the next message waits that long. A byte through a pipe ends the sleep.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, bootsteps


class Waker(bootsteps.StartStopStep):
    """Makes `hub.call_soon`, which the threads use, end the event loop's sleep."""

    requires = ("celery.worker.components:Hub",)

    def __init__(self, worker: Any, **_: Any):
        self._pipe: tuple[int, int] | None = None
        super().__init__(worker)

    def start(self, worker: Any) -> None:
        """Watch the pipe for as long as the hub lives, also after the hub has lost its broker."""
        hub = worker.hub
        if hub is None:
            return
        self._pipe = read_end, write_end = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        call_soon = hub.call_soon

        def watch() -> None:
            if read_end not in hub.readers:  # a hub that was reset has forgotten it
                hub.add_reader(read_end, _drain, read_end)

        def call_soon_and_wake(callback: Any, *args: Any) -> Any:
            called = call_soon(callback, *args)
            _write_byte(write_end)
            return called

        hub.call_soon = call_soon_and_wake
        hub.on_tick.add(watch)
        watch()

    def stop(self, worker: Any) -> None:
        """Leave the pipe open until the process ends, since its last threads may still write."""


def add_waker(app: Celery) -> None:
    """Add the waker to every worker of this application."""
    app.steps["worker"].add(Waker)


def _write_byte(write_end: int) -> None:
    try:
        os.write(write_end, b".")
    except BlockingIOError:
        return  # the pipe is full of bytes that nobody has read yet: the loop wakes anyway


def _drain(read_end: int) -> None:
    try:
        while os.read(read_end, 4096):
            pass
    except BlockingIOError:
        return
