"""Ends what takes too long, for thousands of requests at once and with one timer.

`asyncio.timeout` makes a timer for each: twice for each webhook, that was 7 % of what an answer costs (measured).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")

LOOKS = 10  # in the time that each has


class Deadlines:
    """Each awaited thing has `seconds`, or a tenth more. For one event loop, and one thing of a task at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[asyncio.Task[object], float] = {}  # in the order they began: a look ends at the first in time
        self._looks = False

    async def within(self, work: Awaitable[T]) -> T:
        """Await it. Raises TimeoutError."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy: a coroutine runs in a task
        loop = task.get_loop()
        self._due[task] = loop.time() + self._seconds
        if not self._looks:
            self._look_later(loop)
        try:
            return await work
        except asyncio.CancelledError:
            if task in self._due:  # somebody else cancelled it
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            self._due.pop(task, None)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks = True
        loop.call_later(self._seconds / LOOKS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task in [task for task, due in self._due.items() if due <= now]:
            del self._due[task]
            task.cancel()
        self._looks = False
        if self._due:
            self._look_later(loop)
