"""Reads the deliveries to be recorded, and prepares the next batch while PostgreSQL writes the current one.

Each delivery is marked as in flight before its body is parsed, because parsing may kill the recorder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from shared.db.core.pool import Connection, Pool
from shared.db.recording import spool, statements
from shared.errors import StoreUnavailable
from shared.intake.client import Intake
from shared.intake.entries import Entry
from workers.recording.parse import Incoming, Parsed, parse
from workers.recording.prepare import PreparedChunk, prepare

#: The number of deliveries in a batch, at most; 4 MB of bodies end it earlier. A chunk has a fixed cost. With 1,000
#: instead of 200, an event took 233 instead of 255 us of our CPU (measured). PostgreSQL took 195 instead of 245 us.
CHUNK = 1_000
#: The entries that were in flight when a recorder died or gave up, with the number of such deaths.
Suspects = Mapping[str, int]
T = TypeVar("T")


class Batch(NamedTuple):
    """Deliveries in the order they came. `parsed` has those that are no suspects, marked as in flight.

    `prepared` has the rows of `parsed` if there was time to prepare them.
    """

    incoming: Sequence[Incoming]
    parsed: list[Parsed]
    may_be_more: bool
    prepared: PreparedChunk | None = None


class DeliveryReader:
    """Reads up to `size` deliveries at a time from the intake or the spool; for one thread.

    Suspects are neither marked nor parsed: the recorder tries each of them alone.
    """

    def __init__(self, pool: Pool, intake: Intake, size: int = CHUNK, *, prefetches: bool = True):
        self._pool = pool
        self._intake = intake
        self._size = size
        self._prefetches = prefetches
        self._next: BackgroundResult[Batch] = BackgroundResult()
        self._prefetched_ids: list[str] = []

    def read_intake(self, suspects: Suspects, stream: str, *, wait_seconds: float = 0.0) -> Batch:
        """Read the next entries of the stream; without any, wait so long for the next one.

        A thread prepares the batch after them while PostgreSQL writes these. Call `drop_prefetched` between streams.
        """
        batch = self._next.take() or self._read_after(suspects, stream, after="0", wait_seconds=wait_seconds)
        self._prefetched_ids = []
        if batch.may_be_more and self._prefetches:
            batch = self._with_rows(batch)  # before the next batch: events get their ids in the order they came
            last = batch.incoming[-1].entry_id
            self._next.start(lambda: self._prefetch(suspects, stream, after=last))
        return batch

    def read_spool(self, suspects: Suspects) -> Batch:
        """Read the oldest spooled deliveries."""
        spooled = self._pool.run(lambda conn: spool.oldest(conn, self._size))
        incoming = [
            Incoming(delivery=each.delivery, origin=each.origin, entry_id=f"spool:{each.delivery.id}")
            for each in spooled
        ]
        parsed = self.mark_and_parse(_without_suspects(incoming, suspects))
        return Batch(incoming=incoming, parsed=parsed, may_be_more=spool.may_have_more(spooled, self._size))

    def mark_and_parse(self, incoming: Sequence[Incoming]) -> list[Parsed]:
        """Mark the deliveries as in flight, commit that, and parse them."""
        if incoming:
            entry_ids = [each.entry_id for each in incoming]
            self._pool.run_autocommit(lambda conn: statements.mark_in_flight(conn, entry_ids))
        return [parse(each) for each in incoming]

    def drop_prefetched(self) -> list[str]:
        """Leave the prefetched batch in the intake and remove its marks.

        Returns the entry ids whose marks had to stay, because PostgreSQL is away; no recorder died of those.
        """
        self._next.discard()
        entry_ids, self._prefetched_ids = self._prefetched_ids, []
        try:
            if entry_ids:
                self._pool.run(lambda conn: statements.unmark_in_flight(conn, entry_ids))
        except StoreUnavailable:
            return entry_ids
        return []

    def close(self) -> None:
        """End the thread."""
        self._next.close()

    def _prefetch(self, suspects: Suspects, stream: str, *, after: str) -> Batch:
        return self._with_rows(self._read_after(suspects, stream, after=after, is_prefetch=True))

    def _read_after(
        self, suspects: Suspects, stream: str, *, after: str, wait_seconds: float = 0.0, is_prefetch: bool = False
    ) -> Batch:
        entries = self._intake.read(stream, after=after, max_entries=self._size, wait_seconds=wait_seconds)
        incoming = [_incoming(entry) for entry in entries]
        unsuspected = _without_suspects(incoming, suspects)
        if is_prefetch:
            self._prefetched_ids = [each.entry_id for each in unsuspected]
        parsed = self.mark_and_parse(unsuspected)
        return Batch(incoming=incoming, parsed=parsed, may_be_more=len(incoming) == self._size)

    def _with_rows(self, batch: Batch) -> Batch:
        if batch.prepared or not batch.parsed:
            return batch
        try:
            return batch._replace(prepared=self._pool.run(lambda conn: _prepare(conn, batch.parsed)))
        except Exception:  # noqa: BLE001 -- the recorder meets the same error, and finds the delivery that causes it
            return batch


class BackgroundResult(Generic[T]):
    """The result of at most one function, which a thread runs before somebody asks for it; for one caller."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._future: Future[T] | None = None

    def start(self, function: Callable[[], T]) -> None:
        """Run the function in the thread, unless there is a result that nobody has taken."""
        self._future = self._future or self._thread.submit(function)

    def take(self) -> T | None:
        """Wait for the function and return its result, or raise its exception; None when none was started."""
        future, self._future = self._future, None
        return future.result() if future else None

    def discard(self) -> None:
        """Wait for the function and drop its result or exception."""
        with suppress(Exception):
            self.take()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()


def _prepare(conn: Connection, chunk: Sequence[Parsed]) -> PreparedChunk:
    return prepare(conn, chunk, statements.start_reading(conn))


def _incoming(entry: Entry) -> Incoming:
    return Incoming(
        delivery=entry.delivery,
        origin="webhook",
        entry_id=entry.entry_id,
        unreadable=None if entry.readable else "an entry of the intake that the door did not write",
    )


def _without_suspects(incoming: Sequence[Incoming], suspects: Suspects) -> list[Incoming]:
    return [each for each in incoming if each.entry_id not in suspects]
