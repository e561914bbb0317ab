"""Gives a store a deadline that holds even when the other side has stopped and keeps none of its own."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.store import Store
    from shared.models import Delivery

T = TypeVar("T")


class WithDeadline:
    """Uses a store in one thread of its own. If that one hangs, no other is started: callers only give up in time."""

    def __init__(self, store: Store, *, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._jobs: SimpleQueue[tuple[Future[object], Callable[[], object]]] = SimpleQueue()
        self._started = threading.Lock()

    def put(self, deliveries: Sequence[Delivery]) -> Sequence[Exception | None]:
        """As the store's, or StoreUnavailable when time ran out; the deliveries may be kept later all the same."""
        return self._within(lambda: self._store.put(deliveries))

    def check(self) -> None:
        """As the store's, or StoreUnavailable when time ran out."""
        self._within(self._store.check)

    def _within(self, work: Callable[[], T]) -> T:
        if self._started.acquire(blocking=False):  # here and not at the start: threads do not survive a fork
            threading.Thread(target=self._run, name="store", daemon=True).start()
        future: Future[T] = Future()
        self._jobs.put((future, work))  # type: ignore[arg-type]  # the queue mixes jobs, each future fits its work
        try:
            return future.result(self._seconds)
        except TimeoutError:
            future.cancel()  # what has not begun never will
            raise StoreUnavailable(f"no answer within {self._seconds} s") from None

    def _run(self) -> None:
        while True:
            future, work = self._jobs.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except Exception as exc:  # noqa: BLE001 - the caller's to judge
                    future.set_exception(exc)
            del future, work  # waiting for the next job must not keep the last one's bodies
