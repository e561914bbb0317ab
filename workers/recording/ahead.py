"""Does the next piece of work in a thread of its own while this one waits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """At most one piece of work, begun before its result is asked for. For one thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._begun: Future[T] | None = None

    def begin(self, work: Callable[[], T]) -> None:
        """Start it, unless one is begun that nobody has taken."""
        self._begun = self._begun or self._thread.submit(work)

    def take(self) -> T | None:
        """Wait for what was begun and give its result, or raise what it raised; None when nothing was."""
        begun, self._begun = self._begun, None
        return begun.result() if begun else None

    def drop(self) -> None:
        """Wait for what was begun, and for nothing of it."""
        with suppress(Exception):
            self.take()

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()
