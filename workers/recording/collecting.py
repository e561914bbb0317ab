"""Keeps Python's garbage collector from looking through what is recorded again and again.

Hundreds of bodies, read, are some hundred thousand objects, none of which is part of a cycle: they all go when their
chunk does. Looking for cycles among them took a third of the time that reading and planning take; looking only between
two chunks still took an eighth of the recorder's CPU, for those of the next one are there by then.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_SECONDS = 60.0


@contextmanager
def rarely_collecting() -> Iterator[Callable[[], None]]:
    """Collect no cycles inside, in the whole process, but when what this gives is called: then once a minute."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield _Minutely()
    finally:
        if was_on:
            gc.enable()


class _Minutely:
    def __init__(self) -> None:
        self._due = time.perf_counter() + EVERY_SECONDS

    def __call__(self) -> None:
        if (now := time.perf_counter()) >= self._due:
            gc.collect()
            self._due = now + EVERY_SECONDS
