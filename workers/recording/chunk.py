"""Records a chunk of deliveries in one transaction: every row of every delivery, or none."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import TypeVar, cast

import structlog

from shared.db.core.pool import Connection, Pool
from shared.db.recording import statements
from shared.db.tenants import erasing
from shared.errors import StoreUnavailable
from shared.front.envelope import claimed_company, is_known
from shared.models import Delivery, Origin, Tenant
from workers.changes.precedence import API_SOURCES, CHANGES
from workers.recording.parse import Incoming, Parsed, parse
from workers.recording.prepare import Prepared, delivery_row, prepare, think, with_tenant, work_rows
from workers.recording.write import write_work

T = TypeVar("T")

log = structlog.get_logger()


def by_halves(items: Sequence[T], do: Callable[[Sequence[T]], None], alone: Callable[[T, Exception], None]) -> None:
    """Do all together; where that fails, each half by itself, and give `alone` each single one that fails.

    StoreUnavailable is nobody's fault and passes.
    """
    try:
        do(items)
    except StoreUnavailable:
        raise
    except Exception as exc:  # noqa: BLE001 -- whatever one does must not stop the others
        if len(items) == 1:
            alone(items[0], exc)
            return
        half = len(items) // 2
        by_halves(items[:half], do, alone)
        by_halves(items[half:], do, alone)


def drop_erased(conn: Connection, parsed: Sequence[Parsed]) -> list[Parsed]:
    """What is to be recorded; the rest is counted and leaves nothing behind, also where it cannot be read."""
    companies = [_company(item) for item in parsed]
    erased = erasing.erased_among(conn, {company for company in companies if company})
    if not erased:
        return list(parsed)
    erasing.note_dropped(conn, Counter(company for company in companies if company in erased))
    return [item for item, company in zip(parsed, companies, strict=True) if company not in erased]


def _company(item: Parsed) -> str | None:
    return item.envelope.company_id or claimed_company(item.incoming.delivery.body)


class SeenTypes:
    """The types whose rows are known to be committed: of those no statement is sent any more."""

    def __init__(self) -> None:
        self._kept: set[str] = set()

    def note(self, conn: Connection, seen: Set[str]) -> None:
        """Keep types that came by webhook, in the transaction that records: once, it may still be rolled back."""
        if unsure := seen - self._kept:
            self._kept |= unsure - statements.add_seen_types(conn, unsure)


def came_by_webhook(parsed: Iterable[Parsed]) -> set[str]:
    """The types among them that Front sends webhooks of."""
    seen = {item.envelope.type for item in parsed if item.incoming.origin != "repaired"}
    return {each for each in seen if is_known(each)}


def record_chunk(
    conn: Connection, chunk: Sequence[Parsed], *, prepared: Prepared | None = None, types: SeenTypes | None = None
) -> set[int]:
    """Record the chunk and return the ids of the tenants that have new work.

    `prepared` is what `prepare` made of it a moment ago, if anything: what was recorded or erased since is left out.
    Should something else that it names be gone by now, a foreign key is violated, and the transaction is to be
    repeated without. `types` notes which events this app gets webhooks of.

    Everything is looked up before anything is written: in a pipeline nobody waits for PostgreSQL after that.
    Conversations are locked once, at the end: whoever locks several takes them all in one order.
    """
    now = statements.begin_writing(conn)
    prepared = prepared or prepare(conn, chunk, now)
    left = drop_erased(conn, chunk)
    old = statements.known_events(conn, prepared.ids)
    new = [item for item in left if item.key not in old and prepared.first[item.key] is item]
    working = _write(conn, prepared, new)
    others = [item for item in left if item.key in old or prepared.first[item.key] is not item]
    ids = {**prepared.ids, **old}
    statements.insert_deliveries(conn, [delivery_row(item, ids[item.key]) for item in others])
    statements.make_actions_due(conn, _changed(new, prepared.tenants))
    if types:
        types.note(conn, came_by_webhook(left))
    return working


def adopt_chunk(conn: Connection, chunk: Sequence[Parsed]) -> set[int]:
    """Work through events that were parked for their unknown company, as if they came now.

    Their event and delivery rows are there already. Gives the ids of the tenants that have new work.
    """
    now = statements.begin_writing(conn)
    thought = think(conn, drop_erased(conn, chunk), now)
    ids = statements.adopt_events(conn, thought.events())
    work = work_rows(thought, ids)
    write_work(conn, work)
    statements.make_actions_due(conn, _changed((thought.first[key] for key in ids), thought.tenants))
    return work.tenants()


def _write(conn: Connection, prepared: Prepared, new: Iterable[Parsed]) -> set[int]:
    """Write all rows of these events; the tenants that have work by them."""
    gone = set(prepared.ids.values()) - {prepared.ids[item.key] for item in new}
    working: set[int] = set()
    for piece in prepared.pieces:
        rows = piece.without(gone)
        if rows.ids:
            statements.insert_events(conn, rows.ids, rows.events)
            statements.insert_deliveries(conn, rows.deliveries)
            write_work(conn, rows.work)
        working |= rows.work.tenants()
    return working


def _changed(new: Iterable[Parsed], tenants: Mapping[str, Tenant]) -> list[tuple[int, str]]:
    """The conversations that somebody else changed."""
    return [
        (tenant.id, item.envelope.conversation_id)
        for item, tenant in with_tenant(new, tenants)
        if item.envelope.type in CHANGES and item.envelope.source not in API_SOURCES and item.envelope.conversation_id
    ]


def adopt_parked(pool: Pool) -> set[int]:
    """Record parked events for the tenants that have their company now; the tenants that got new work.

    One that cannot be recorded any more fails visibly: it must not stand in front of the others for ever.
    """
    tenants: set[int] = set()

    def adopt(parked: Sequence[statements.ParkedDelivery]) -> None:
        tenants.update(pool.run(lambda conn: _adopt_chunk(conn, parked)))

    def give_up(offender: statements.ParkedDelivery, exc: Exception) -> None:
        log.warning("unrecordable", delivery_id=offender.id, error=type(exc).__name__)
        reason = f"recording it for its tenant failed ({type(exc).__name__})"
        pool.run(lambda conn: statements.fail_parked(conn, [offender.event_id], reason))

    if found := pool.run(statements.adoptable_deliveries):
        by_halves(found, adopt, give_up)
    return tenants


def _adopt_chunk(conn: Connection, parked: Sequence[statements.ParkedDelivery]) -> set[int]:
    chunk = [
        parse(
            Incoming(
                delivery=Delivery(id=each.id, received_at=each.received_at, body=zlib.decompress(each.body)),
                origin=cast("Origin", each.origin),
                mark=each.id,
            )
        )
        for each in parked
    ]
    tenants = adopt_chunk(conn, chunk)
    statements.fail_parked(conn, [each.event_id for each in parked], "its body reads as another event now")
    return tenants
