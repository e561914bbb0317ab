"""Keeps Python's garbage collector from looking through a chunk again and again while it grows.

Hundreds of bodies, read, are some hundred thousand objects, none of which is part of a cycle: they all go when the
chunk does. Looking for cycles among them took a third of the time that reading and planning take.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Collect no cycles inside; of the whole process, hence for a bounded piece of work only."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
