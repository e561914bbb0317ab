"""Lets readers of the feed wait for the next notification, with one look at the database for all of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.db.host import feed, outbox
from shared.errors import MailroomError

if TYPE_CHECKING:
    from shared.db.core.pool import Connection, Pool

#: The pause between two looks while anybody waits.
LOOK_SECONDS = 0.5


class TooManyReaders(MailroomError):
    """As many readers wait for the feed as may; the sender asks again, or without `wait`."""

    code = "too_many_readers"


class FeedWatch:
    """Waits for notifications. A reader that waits holds a thread, so `most` may, and `most_of_one` of one token.

    One of those who wait looks for all of them: nobody looks while nobody waits, and many cost as much as one.
    """

    def __init__(self, pool: Pool, *, most: int, most_of_one: int, look_seconds: float = LOOK_SECONDS):
        self._pool = pool
        self._most = most
        self._most_of_one = most_of_one
        self._look_seconds = look_seconds
        self._changed = threading.Condition()
        self._waiting: Counter[int] = Counter()
        self._is_looking = False
        self._is_closed = False
        self._last = 0

    @property
    def waiting(self) -> int:
        """The number of readers that wait now."""
        return self._waiting.total()

    def wait(self, position: int, seconds: float, *, reader: int) -> bool:
        """Return once a notification after this position exists, or after so many seconds. False: the process stops.

        Raises TooManyReaders, and StoreUnavailable.
        """
        until = time.monotonic() + seconds
        with self._place(reader), self._changed:
            self._last = position  # what this reader has just seen; after a restore the feed is shorter than before
            while self._last <= position and not self._is_closed and (left := until - time.monotonic()) > 0:
                if self._is_looking:
                    self._changed.wait(left)
                else:
                    self._look_after(min(left, self._look_seconds))
            return not self._is_closed

    def close(self) -> None:
        """Let all readers go."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @contextmanager
    def _place(self, reader: int) -> Iterator[None]:
        with self._changed:
            if self._waiting.total() >= self._most or self._waiting[reader] >= self._most_of_one:
                raise TooManyReaders("too many readers wait for the feed; ask again, or without wait")
            self._waiting[reader] += 1
        try:
            yield
        finally:
            with self._changed:
                self._waiting[reader] -= 1

    def _look_after(self, seconds: float) -> None:
        """Look for all who wait, after a pause; whoever waits on looks next. Called with the lock, and keeps it."""
        self._is_looking = True
        try:
            self._changed.wait_for(lambda: self._is_closed, seconds)
            self._changed.release()
            try:
                last = self._pool.run(number_and_look)
            finally:
                self._changed.acquire()
            self._last = last
        finally:
            self._is_looking = False
            self._changed.notify_all()


def number_and_look(conn: Connection) -> int:
    """Number what waits, so that a reader depends on no other process, and return the last position."""
    if outbox.has_rows(conn):
        outbox.number(conn)
    return feed.last_position(conn)
