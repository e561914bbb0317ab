"""Reads what waits to be recorded, marked first: to read a body may be the death of a recorder.

What is read ahead is prepared, too: then PostgreSQL has the next chunk's rows as soon as it has written these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from shared.db.core.pool import Connection, Pool
from shared.db.recording import spool, statements
from shared.errors import StoreUnavailable
from shared.intake.client import Intake
from shared.intake.entries import Entry
from workers.recording.parse import Incoming, Parsed, parse
from workers.recording.prepare import Prepared, prepare

T = TypeVar("T")

#: As many as wait, up to this or 4 MB of bodies. What a chunk costs besides its rows is half of an event's part of 200.
CHUNK = 1_000


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


class Batch(NamedTuple):
    """Deliveries in the order they came; `together` are those that never made trouble, marked and read.

    `prepared`: as what they are to be written, if there was time to find that out.
    """

    incoming: Sequence[Incoming]
    together: list[Parsed]
    may_be_more: bool
    prepared: Prepared | None = None


class DeliveryReader:
    """Reads intake and spool, `size` deliveries at most at a time; for one thread.

    `suspects` are marked from before, by a recorder that died or gave up: they are not read but to be recorded alone.
    """

    def __init__(self, pool: Pool, intake: Intake, size: int = CHUNK, *, reads_ahead: bool = True):
        self._pool = pool
        self._intake = intake
        self._size = size
        self._reads_ahead = reads_ahead
        self._ahead: Ahead[Batch] = Ahead()
        self._marked_ahead: list[str] = []

    def from_intake(self, suspects: Mapping[str, int]) -> Batch:
        """The next entries; a thread prepares those behind them meanwhile, since PostgreSQL is waited for otherwise."""
        batch = self._ahead.take() or self._read_intake(suspects, after="0")
        self._marked_ahead = []
        if batch.may_be_more and self._reads_ahead:
            batch = self._prepared(batch)  # before those behind it: events get their ids in the order they came
            last = batch.incoming[-1].mark
            self._ahead.begin(lambda: self._prepared(self._read_intake(suspects, after=last, ahead=True)))
        return batch

    def from_spool(self, suspects: Mapping[str, int]) -> Batch:
        """The oldest spooled deliveries."""
        spooled = self._pool.run(lambda conn: spool.oldest(conn, self._size))
        incoming = [
            Incoming(delivery=each.delivery, origin=each.origin, mark=f"spool:{each.delivery.id}") for each in spooled
        ]
        together = self.marked(_unsuspected(incoming, suspects))
        return Batch(incoming=incoming, together=together, may_be_more=spool.fills(spooled, self._size))

    def marked(self, incoming: Sequence[Incoming]) -> list[Parsed]:
        """These, marked and then read."""
        if incoming:
            self._pool.run(lambda conn: statements.mark_in_flight(conn, [each.mark for each in incoming]))
        return [parse(each) for each in incoming]

    def leave(self) -> list[str]:
        """Leave what was read ahead where it waits. Gives the marks that stay without a death: PostgreSQL is away."""
        self._ahead.drop()
        names, self._marked_ahead = self._marked_ahead, []
        try:
            if names:
                self._pool.run(lambda conn: statements.unmark_in_flight(conn, names))
        except StoreUnavailable:
            return names
        return []

    def close(self) -> None:
        """Let its thread end."""
        self._ahead.close()

    def _prepared(self, batch: Batch) -> Batch:
        if batch.prepared or not batch.together:
            return batch
        try:
            return batch._replace(prepared=self._pool.run(lambda conn: _prepare(conn, batch.together)))
        except Exception:  # noqa: BLE001 -- whoever records them meets it, too, and looks for the one that it is about
            return batch

    def _read_intake(self, suspects: Mapping[str, int], *, after: str, ahead: bool = False) -> Batch:
        incoming = [_incoming(entry) for entry in self._intake.read(after=after, max_entries=self._size)]
        together = _unsuspected(incoming, suspects)
        if ahead:
            self._marked_ahead = [each.mark for each in together]
        return Batch(incoming=incoming, together=self.marked(together), may_be_more=len(incoming) == self._size)


def _prepare(conn: Connection, chunk: Sequence[Parsed]) -> Prepared:
    return prepare(conn, chunk, statements.begin_look_up(conn))


def _incoming(entry: Entry) -> Incoming:
    return Incoming(
        delivery=entry.delivery,
        origin="webhook",
        mark=entry.entry_id,
        unreadable=None if entry.readable else "an entry of the intake that the door did not write",
    )


def _unsuspected(incoming: Iterable[Incoming], suspects: Mapping[str, int]) -> list[Incoming]:
    return [each for each in incoming if each.mark not in suspects]
