"""Where answers wait, in the event loop, until the stores have said what became of their deliveries."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING

from ingest.deadlines import Deadlines
from ingest.holding import tell
from ingest.keeper import KEEP_SECONDS
from shared.errors import NothingStored

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

    from ingest.holding import Hold
    from ingest.keeper import Keeper, Outcome
    from shared.models import Delivery


class Wait:
    """One answer that waits."""

    __slots__ = ("began", "delivery", "outcome")

    def __init__(self, delivery: Delivery, began: float, outcome: Future[Outcome]) -> None:
        self.delivery = delivery
        self.began = began
        self.outcome = outcome


class WaitingRoom:
    """All answers of one process that wait. Whatever hangs behind the stores, none waits longer than `seconds`."""

    def __init__(self, loop: AbstractEventLoop, keeper: Keeper, *, seconds: float = KEEP_SECONDS) -> None:
        self._loop = loop
        self._keeper = keeper
        self._deadlines = Deadlines(loop, seconds, self._give_up)
        self._too_late = NothingStored(f"no store answered within {seconds} s")
        self._told: deque[tuple[Wait, Outcome]] = deque()
        self._called = False
        self._thread = get_ident()

    async def keep(self, delivery: Delivery, hold: Hold) -> Outcome:
        """Wait until the delivery is kept, or may not be."""
        wait = Wait(delivery, hold.began, self._loop.create_future())
        self._deadlines.begin(wait)
        self._keeper.submit(delivery, partial(self._hear, wait))
        return await wait.outcome

    def _hear(self, wait: Wait, outcome: Outcome) -> None:
        """From any thread. Those that are told together by another one wake the loop once."""
        if get_ident() == self._thread:
            self._end(wait, outcome)
            return
        self._told.append((wait, outcome))
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._let_go)

    def _let_go(self) -> None:
        self._called = False
        while self._told:
            wait, outcome = self._told.popleft()
            self._end(wait, outcome)

    def _end(self, wait: Wait, outcome: Outcome) -> None:
        self._finish(wait, outcome)
        self._deadlines.end(wait)  # last: whatever goes wrong before, it is answered in time

    def _give_up(self, wait: Wait) -> None:
        self._finish(wait, self._too_late)

    def _finish(self, wait: Wait, outcome: Outcome) -> None:
        if wait.outcome.done():  # given up, or the sender went away
            return
        tell(wait.delivery, outcome, time.perf_counter() - wait.began)
        wait.outcome.set_result(outcome)
