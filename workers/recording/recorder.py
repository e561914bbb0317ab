"""Empties the intake and the spool into rows, one chunk after the other, one recorder at a time."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import structlog

from shared import failpoints
from shared.db.core.locks import Role
from shared.db.core.pool import Connection, Pool
from shared.db.recording import spool, statements
from shared.errors import StoreUnavailable
from shared.intake.client import Intake
from workers.recording.chunk import SeenTypes, by_halves, record_chunk
from workers.recording.parse import Parsed, parse
from workers.recording.prefetch import Batch, DeliveryReader
from workers.recording.prepare import Prepared

EVERY_SECONDS = 60.0

#: A delivery in work when this many recorders died is kept unparsed.
DEADLY_TRIES = 5
log = structlog.get_logger()

Dispatch = Callable[[set[int]], None]


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


class Recorder:
    """Records what `reader` gives; `drain` is called by the recorder's task, or by the sweeper in its stead."""

    def __init__(self, pool: Pool, intake: Intake, role: Role, dispatch: Dispatch, reader: DeliveryReader):
        self._pool = pool
        self._intake = intake
        self._reader = reader
        self._role = role
        self._dispatch = dispatch
        self._survived: set[str] = set()
        self._types = SeenTypes()

    def drain(self, *, most_seconds: float = math.inf) -> int:
        """Record until nothing waits, or for about that long; how many deliveries. 0 when another recorder is at it.

        Raises StoreUnavailable when PostgreSQL or Redis is away; nothing is lost then, and nothing is consumed.
        """
        with self._role.held() as held:
            return self._drain(time.monotonic() + most_seconds) if held else 0

    def close(self) -> None:
        """Give up the recorder's connection."""
        self._reader.close()
        self._role.close()

    def _drain(self, until: float) -> int:
        self._forgive()
        suspects = self._pool.run(statements.marked_in_flight)
        try:
            return self._record_all(suspects, until)
        finally:
            self._survived.update(self._reader.leave())

    def _record_all(self, suspects: dict[str, int], until: float) -> int:
        total = 0
        with rarely_collecting() as collect:
            while time.monotonic() < until:
                collect()
                done, was_all = self._record_next(suspects)
                total += done
                if was_all:
                    break
        return total

    def _record_next(self, suspects: dict[str, int]) -> tuple[int, bool]:
        """Record a chunk of what waits; how many, and whether nothing is left."""
        spooled, may_be_more = self._record_spooled(suspects)
        if may_be_more:
            return spooled, False  # the whole backlog before the intake is asked: Redis may still be away
        if done := self._record_intake(suspects):
            return spooled + done, False
        self._intake.stop_bell()
        if done := self._record_intake(suspects):
            return spooled + done, False
        self._forget(suspects)
        return spooled, True

    def _record_intake(self, suspects: dict[str, int]) -> int:
        batch = self._reader.from_intake(suspects)
        self._record(batch, suspects)
        if batch.incoming:
            failpoints.reach("recorded_before_delete")
        self._intake.delete(each.mark for each in batch.incoming)
        return len(batch.incoming)

    def _record_spooled(self, suspects: dict[str, int]) -> tuple[int, bool]:
        batch = self._reader.from_spool(suspects)
        self._record(batch, suspects)
        return len(batch.incoming), batch.may_be_more

    def _record(self, batch: Batch, suspects: dict[str, int]) -> None:
        """Record together what never made trouble, and alone what was in work when a recorder died or gave up."""
        self._record_marked(batch.together, batch.prepared)
        for each in batch.incoming:
            if each.mark in suspects:
                tries = suspects.pop(each.mark)
                deadly = f"{tries} recorders died while recording it" if tries >= DEADLY_TRIES else None
                self._record_marked(self._reader.marked([each._replace(unreadable=each.unreadable or deadly)]))

    def _record_marked(self, chunk: Sequence[Parsed], prepared: Prepared | None = None) -> None:
        """Record the chunk, which is marked. Only a death leaves the marks counted: whoever gets here survived."""
        if not chunk:
            return
        try:
            # Of its halves, nothing is prepared.
            by_halves(
                chunk,
                lambda part: self._record_chunk(part, prepared if part is chunk else None),
                self._keep_unparsed,
            )
        except Exception:
            self._survived.update(each.incoming.mark for each in chunk)
            with suppress(StoreUnavailable):  # then before the next marks are read
                self._forgive()
            raise

    def _forgive(self) -> None:
        if self._survived:
            names = sorted(self._survived)
            self._pool.run(lambda conn: statements.forgive_in_flight(conn, names))
            self._survived.clear()

    def _forget(self, gone: Mapping[str, int]) -> None:
        """Marks of what is nowhere any more, once nothing waits: Redis was emptied after a recorder had died."""
        if gone:
            self._pool.run(lambda conn: statements.unmark_in_flight(conn, sorted(gone)))

    def _record_chunk(self, chunk: Sequence[Parsed], prepared: Prepared | None = None) -> None:
        failpoints.reach("marked_before_record")
        first = iter([prepared])  # what has to be repeated is looked up again
        tenants = self._pool.run(lambda conn: _commit(conn, chunk, next(first, None), self._types))
        failpoints.reach("recorded_before_dispatch")
        log.debug("recorded", deliveries=len(chunk))
        self._dispatch(tenants)

    def _keep_unparsed(self, offender: Parsed, exc: Exception) -> None:
        incoming = offender.incoming
        if incoming.unreadable is not None:
            raise exc
        log.warning("unrecordable", delivery_id=incoming.delivery.id, error=type(exc).__name__)
        reason = f"recording it failed ({type(exc).__name__}); the body is kept unparsed"
        self._record_chunk([parse(incoming._replace(unreadable=reason))])


def _commit(conn: Connection, chunk: Sequence[Parsed], prepared: Prepared | None, types: SeenTypes) -> set[int]:
    with conn.pipeline():  # only answers that are needed are waited for
        tenants = record_chunk(conn, chunk, prepared=prepared, types=types)
        incoming = [each.incoming for each in chunk]
        spool.delete(conn, [each.delivery.id for each in incoming if each.origin != "webhook"])
        statements.unmark_in_flight(conn, [each.mark for each in incoming])
    return tenants
