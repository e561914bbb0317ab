"""Empties the intake and the spool into rows, chunk after chunk, one recorder at a time.

An entry is marked as in flight before it is parsed, and unmarked in the transaction that records it. A dead recorder's
marks show which entries may have killed it. The next recorder tries each of them alone.
"""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import structlog

from shared import failpoints
from shared.db.core.locks import Role
from shared.db.core.pool import Connection, Pool
from shared.db.figures import Tally
from shared.db.recording import spool, statements
from shared.db.recording.statements import NewTasks
from shared.errors import StoreUnavailable
from shared.intake.client import Intake
from shared.intake.streams import ALL_STREAMS, STREAM, parse_entry_name
from shared.process import tracing
from shared.process.logs import log_each
from workers.process import work_metrics
from workers.recording.chunk import Outcome, SeenTypes, bisect_failures, record_chunk
from workers.recording.parse import Parsed, parse
from workers.recording.prefetch import Batch, DeliveryReader
from workers.recording.prepare import PreparedChunk

#: An entry that was in flight when this many recorders died is kept unparsed.
DEADLY_TRIES = 5
#: The notifications of a chunk of so many deliveries are published at once. Larger ones are of a backlog: the sweeper
#: publishes them meanwhile.
LIVE_CHUNK = 50
#: The pause between two runs of the garbage collector while recording.
GC_EVERY_SECONDS = 60.0
#: After the last delivery, a recorder listens to the intake itself for so long. Nobody need wake it meanwhile, which
#: would cost a Celery message and its first looks at PostgreSQL each time.
LISTEN_SECONDS = 1.0
#: The bell stays rung for longer than that. If the recorder dies while it listens, the bell falls silent after this.
SILENT_SECONDS = 2.5
#: A listening recorder reads this often at most. Deliveries that follow each other more closely share a chunk, whose
#: fixed cost is most of theirs. One that comes alone waits for nothing.
READ_EVERY_SECONDS = 0.04
#: The pause between two looks into the spool while deliveries come.
SPOOL_EVERY_SECONDS = 1.0
log = structlog.get_logger()

#: Sends the tasks of these ids, which are queued, and due tasks of these tenants.
Dispatch = Callable[[Sequence[int], set[int]], None]
Count = Callable[[Tally], None]


class Recorder:
    """Records what waits in intake and spool. The recorder's Celery task calls `drain`, or the sweeper in its place."""

    def __init__(  # noqa: PLR0913 -- its parts, each made once per process
        self,
        pool: Pool,
        intake: Intake,
        role: Role,
        dispatch: Dispatch,
        reader: DeliveryReader,
        *,
        count: Count,
        publish: Callable[[], None],
    ):
        self._pool = pool
        self._intake = intake
        self._reader = reader
        self._role = role
        self._dispatch = dispatch
        self._count = count
        self._publish = publish
        self._survived: set[str] = set()
        self._seen_types = SeenTypes()
        self._spool_due = -math.inf
        self._stop: threading.Event | None = None
        self._read_at = -math.inf

    def drain(self, *, max_seconds: float = math.inf, listen_until: threading.Event | None = None) -> int:
        """Record until nothing waits, or for about `max_seconds` and at least a chunk; return the number of deliveries.

        With `listen_until`, wait at the only stream for the next delivery, unless none comes for LISTEN_SECONDS or the
        event is set. Streams at which other recorders are at work are left to them. Raises StoreUnavailable when
        PostgreSQL or Redis is away; then nothing is lost and nothing is consumed.
        """
        self._stop = listen_until
        until, total = time.monotonic() + max_seconds, 0
        while not self._intake.has_one_stream:
            count = self._drain_divisions(until)
            total += count
            if not count or time.monotonic() >= until:
                return total
        return total + (self._drain_stream(STREAM, until) or 0)

    def close(self) -> None:
        """Close the recorder's own connection and end its thread."""
        self._reader.close()
        self._role.close()

    def _drain_divisions(self, until: float) -> int:
        """Record what waits in several streams; each division only after those that came before."""
        divisions = self._intake.waiting()
        total = 0
        if self._intake.is_divided and [STREAM] not in divisions:  # the spool goes with it
            total += self._drain_stream(STREAM, until) or 0
        for streams in divisions:
            counts = [self._drain_stream(stream, until) for stream in streams]
            total += sum(count or 0 for count in counts)
            if None in counts:
                break
        return total

    def _drain_stream(self, stream: str, until: float) -> int | None:
        """Record what waits in one stream; None while another recorder is at work there."""
        with self._role.held(part=ALL_STREAMS.index(stream)) as is_recorder:
            if not is_recorder:
                return None
            count = self._drain(stream, until)
        self._intake.forget(stream)
        return count

    def _drain(self, stream: str, until: float) -> int:
        self._take_back_survived_tries()
        marked = self._pool.run(statements.tries_in_flight)
        suspects = {name: tries for name, tries in marked.items() if parse_entry_name(name)[0] == stream}
        self._spool_due = -math.inf
        try:
            return self._record_all(stream, suspects, until)
        finally:
            self._survived.update(self._reader.drop_prefetched())

    def _record_all(self, stream: str, suspects: dict[str, int], until: float) -> int:
        total = 0
        with paused_garbage_collector() as collect_if_due:
            while True:
                collect_if_due()
                count, is_empty = self._record_next(stream, suspects)
                total += count
                if is_empty or time.monotonic() >= until:
                    return total

    def _record_next(self, stream: str, suspects: dict[str, int]) -> tuple[int, bool]:
        """Record the next chunk; return its number of deliveries, and whether nothing waits any more.

        The spool goes with the first of all streams.
        """
        spooled, may_be_more = self._record_spooled(suspects) if stream == STREAM else (0, False)
        if may_be_more:
            return spooled, False  # the whole backlog before the intake is read: Redis may still be away
        if count := self._record_intake(stream, suspects, wait_seconds=LISTEN_SECONDS if self._listens() else 0.0):
            return spooled + count, False
        self._intake.stop_bell()
        if count := self._record_intake(stream, suspects):
            return spooled + count, False
        self._unmark_vanished(suspects)
        return spooled, True

    def _listens(self) -> bool:
        """Whether to wait for the next delivery. With several streams, one of another would wait meanwhile."""
        return self._stop is not None and not self._stop.is_set() and self._intake.has_one_stream

    def _record_intake(self, stream: str, suspects: dict[str, int], *, wait_seconds: float = 0.0) -> int:
        if wait_seconds and self._stop is not None:
            self._stop.wait(self._read_at + READ_EVERY_SECONDS - time.monotonic())
        batch = self._reader.read_intake(suspects, stream, wait_seconds=wait_seconds)
        self._read_at = -math.inf if batch.may_be_more else time.monotonic()
        self._record(batch, suspects)
        if batch.incoming:
            failpoints.reach("recorded_before_delete")
        silent_seconds = SILENT_SECONDS if self._listens() else 0.0
        self._intake.delete((each.entry_id for each in batch.incoming), silent_seconds=silent_seconds)
        return len(batch.incoming)

    def _record_spooled(self, suspects: dict[str, int]) -> tuple[int, bool]:
        if (now := time.monotonic()) < self._spool_due:
            return 0, False
        batch = self._reader.read_spool(suspects)
        self._record(batch, suspects)
        if not batch.may_be_more:
            self._spool_due = now + SPOOL_EVERY_SECONDS
        return len(batch.incoming), batch.may_be_more

    def _record(self, batch: Batch, suspects: dict[str, int]) -> None:
        """Record the unsuspected deliveries together and each suspect alone."""
        self._record_marked(batch.parsed, batch.prepared)
        for incoming in batch.incoming:
            if incoming.entry_id in suspects:
                tries = suspects.pop(incoming.entry_id)
                deadly = f"{tries} recorders died while recording it" if tries >= DEADLY_TRIES else None
                suspect = incoming._replace(unreadable=incoming.unreadable or deadly)
                self._record_marked(self._reader.mark_and_parse([suspect]))

    def _record_marked(self, chunk: Sequence[Parsed], prepared: PreparedChunk | None = None) -> None:
        """Record a chunk that is marked as in flight. On an error, the marks are noted as survived: nothing died."""
        if not chunk:
            return
        try:
            bisect_failures(
                chunk,
                # The prepared rows are those of the whole chunk, not of a half.
                lambda part: self._record_chunk(part, prepared if part is chunk else None),
                self._keep_unparsed,
            )
        except Exception:
            self._survived.update(each.incoming.entry_id for each in chunk)
            with suppress(StoreUnavailable):  # if it is away, it happens before marks are read again
                self._take_back_survived_tries()
            raise

    def _record_chunk(self, chunk: Sequence[Parsed], prepared: PreparedChunk | None = None) -> None:
        failpoints.reach("marked_before_record")
        began = datetime.now(UTC)
        once = iter([prepared])  # a repeated transaction prepares anew
        with work_metrics.CHUNK_SECONDS.time():
            queued, tenant_ids, outcomes, tally = self._pool.run(
                lambda conn: _commit_chunk(conn, chunk, next(once, None), self._seen_types)
            )
        work_metrics.RECORDED.inc(len(chunk))
        failpoints.reach("recorded_before_dispatch")
        self._dispatch(queued, tenant_ids)
        if len(chunk) <= LIVE_CHUNK:
            self._publish()
        log_each(outcomes)
        if tracing.is_on():
            repaired = {each.incoming.delivery.id for each in chunk if each.incoming.origin == "repaired"}
            tracing.note_recorded(outcomes, began, without_door=repaired)
        self._count(tally)

    def _keep_unparsed(self, offender: Parsed, exc: Exception) -> None:
        incoming = offender.incoming
        if incoming.unreadable is not None:
            raise exc
        log.warning("unrecordable", delivery_id=incoming.delivery.id, error=type(exc).__name__)
        reason = f"recording it failed ({type(exc).__name__}); the body is kept unparsed"
        self._record_chunk([parse(incoming._replace(unreadable=reason))])

    def _take_back_survived_tries(self) -> None:
        """Take back the last try of the entries that this recorder survived. They stay marked, to be tried alone."""
        if self._survived:
            entry_ids = sorted(self._survived)
            self._pool.run(lambda conn: statements.take_back_tries(conn, entry_ids))
            self._survived.clear()

    def _unmark_vanished(self, suspects: Mapping[str, int]) -> None:
        """Remove the marks of entries that are gone though nothing waits: Redis was emptied after a recorder died."""
        if suspects:
            self._pool.run(lambda conn: statements.unmark_in_flight(conn, sorted(suspects)))


def _commit_chunk(
    conn: Connection, chunk: Sequence[Parsed], prepared: PreparedChunk | None, seen_types: SeenTypes
) -> tuple[list[int], set[int], list[Outcome], Tally]:
    outcomes: list[Outcome] = []
    tally = Tally()
    new_tasks = NewTasks()
    with conn.pipeline():  # waits only for results that are needed
        with_files = record_chunk(
            conn,
            chunk,
            prepared=prepared,
            seen_types=seen_types,
            outcomes=outcomes,
            tally=tally,
            new_tasks=new_tasks,
        )
        incoming = [each.incoming for each in chunk]
        spool.delete(conn, [each.delivery.id for each in incoming if each.origin != "webhook"])
        statements.unmark_in_flight(conn, [each.entry_id for each in incoming])
        conn.commit()  # in the same round trip as the statements before it
    queued, with_others = new_tasks.results()
    return queued, with_files | with_others, outcomes, tally


@contextmanager
def paused_garbage_collector() -> Iterator[Callable[[], None]]:
    """Pause this process's garbage collector; the yielded function runs it, once in `GC_EVERY_SECONDS` at most.

    The objects of a chunk are in no cycles, and the collector would go through them again and again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield _PeriodicCollection()
    finally:
        if was_enabled:
            gc.enable()


class _PeriodicCollection:
    def __init__(self) -> None:
        self._due = time.perf_counter() + GC_EVERY_SECONDS

    def __call__(self) -> None:
        if (now := time.perf_counter()) >= self._due:
            gc.collect()
            self._due = now + GC_EVERY_SECONDS
