"""Records a chunk of deliveries in one transaction: every row of every delivery, or none.

New deliveries come from the recorder (`record_chunk`). Parked events are recorded again, from their stored bodies, when
a tenant has connected their company (`adopt_parked_events`), and any event when somebody asks for it (`record_again`).
A chunk that fails is bisected (`bisect_failures`).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from typing import TypeAlias, TypeVar, cast

import structlog

from shared.db import figures
from shared.db.core.pool import Connection, Pool
from shared.db.figures import Tally
from shared.db.recording import statements, stored_deliveries
from shared.db.recording.rows import EventRow
from shared.db.recording.statements import Answer, Merge, NewTasks
from shared.db.recording.stored_deliveries import StoredDelivery
from shared.db.tasks import events
from shared.db.tenants import erasing
from shared.errors import MalformedEnvelope, StoreUnavailable
from shared.front.company_claim import claimed_company
from shared.front.envelope import is_known
from shared.models import Delivery, Origin, Tenant
from shared.process.logs import log_each
from workers.changes.precedence import API_SOURCES, CHANGE_WEBHOOKS
from workers.recording.parse import Incoming, Parsed, parse
from workers.recording.prepare import (
    PreparedChunk,
    chunk_work,
    delivery_row,
    plan_chunk,
    planned_event,
    prepare,
    with_tenant,
)
from workers.recording.write import WorkRows, announce, recipients_column, work_rows, write_work, write_work_again

T = TypeVar("T")
#: What became of a delivery, as a line of the log.
Outcome: TypeAlias = Mapping[str, str | int | None]
#: The log's words for a new event that begins in one of these states. In any other, its delivery is recorded.
OUTCOMES = {"ignored": "delivery_ignored", "parked": "delivery_parked", "failed": "delivery_failed"}
log = structlog.get_logger()


class SeenTypes:
    """The event types known to be stored as seen; no statement is sent for them any more."""

    def __init__(self) -> None:
        self._stored: set[str] = set()

    def note(self, conn: Connection, types: Set[str]) -> None:
        """Store the types that came by webhook.

        A type counts as stored only when its row was there before: this transaction may still be rolled back.
        """
        if unsure := types - self._stored:
            self._stored |= unsure - statements.add_seen_types(conn, unsure)


def record_chunk(  # noqa: PLR0913 -- each named at the call
    conn: Connection,
    chunk: Sequence[Parsed],
    *,
    prepared: PreparedChunk | None = None,
    seen_types: SeenTypes | None = None,
    outcomes: list[Outcome] | None = None,
    tally: Tally | None = None,
    new_tasks: NewTasks | None = None,
) -> set[int]:
    """Record the chunk and return the ids of the tenants that have new work: files alone, with `new_tasks`.

    Those then queue other tasks, which the caller sends after the commit.

    `prepared` is the result of `prepare` for this chunk, if there is one. Events that were recorded since and companies
    that were erased since are left out. If another row that it refers to is gone, a foreign key is violated. The caller
    then repeats the transaction without `prepared`. `seen_types` notes the types that this app gets webhooks of. To
    `outcomes` one is added for each delivery, and to `tally` what counts for a tenant. Both are true once the
    transaction is committed.

    All rows are read before the first is written: in a pipeline nothing waits for PostgreSQL after that. Conversations
    are locked once, at the end, so that all transactions lock several of them in one order.
    """
    now = statements.start_writing(conn)
    prepared = prepared or prepare(conn, chunk, now)
    left = _without_erased(conn, [item for item in chunk if item.is_event])
    recorded = statements.known_events(conn, prepared.ids)
    items = left()
    new = [item for item in items if item.key not in recorded and prepared.first[item.key] is item]
    repeated = [item for item in items if item.key in recorded or prepared.first[item.key] is not item]
    tenant_ids = _write_new(conn, prepared, new, new_tasks)
    ids = {**prepared.ids, **recorded}
    statements.insert_deliveries(conn, [delivery_row(item, ids[item.key]) for item in repeated])
    statements.note_changes(conn, _changed_conversations(new, prepared.tenants), _merges(new, prepared.tenants))
    if seen_types:
        seen_types.note(conn, _webhook_types(items))
    counts = _tally(prepared, items, new, now())
    figures.add(conn, counts, "total")
    if tally is not None:
        tally.merge(counts)
    if outcomes is not None:
        outcomes += _outcomes_of_new(prepared, new)
        outcomes += [_outcome("delivery_repeated", item, ids[item.key], prepared.tenants) for item in repeated]
        kept = {item.incoming.delivery.id for item in items}
        outcomes += [
            _outcome("delivery_dropped" if item.is_event else "delivery_ignored", item, None, {})
            for item in chunk
            if item.incoming.delivery.id not in kept
        ]
    return tenant_ids


def adopt_parked_events(pool: Pool) -> set[int]:
    """Record parked events for the tenants that have their company now; return the ids of those with new work.

    An event that cannot be recorded fails visibly: it must not hold up the others for ever.
    """
    tenant_ids: set[int] = set()

    def adopt(parked: Sequence[StoredDelivery]) -> None:
        tenant_ids.update(pool.run(lambda conn: _adopt(conn, parked)))
        log_each({"event": "delivery_adopted", "delivery_id": each.id, "event_id": each.event_id} for each in parked)

    def give_up(offender: StoredDelivery, exc: Exception) -> None:
        log.warning("unrecordable", delivery_id=offender.id, error=type(exc).__name__)
        reason = f"recording it for its tenant failed ({type(exc).__name__})"
        pool.run(lambda conn: stored_deliveries.fail_parked(conn, [offender.event_id], reason))

    if parked := pool.run(stored_deliveries.adoptable_deliveries):
        bisect_failures(parked, adopt, give_up)
    return tenant_ids


def record_again(conn: Connection, stored: StoredDelivery) -> None:
    """Record an event of a known tenant again, from the body of its first delivery. Its conversation is locked.

    The event keeps its row. Raises MalformedEnvelope when the body reads as another event now.
    """
    item = _parse_stored(stored)
    plan = plan_chunk(conn, [item], statements.start_writing(conn))
    if (
        item.problem
        or item.key not in plan.plans
        or statements.known_events(conn, [item.key]) != {item.key: stored.event_id}
    ):
        raise MalformedEnvelope(item.problem or "its body reads as another event now")
    planned = planned_event(plan, item.key, stored.event_id)
    if not planned.plan.fetch:  # else the recipients stay until the message is fetched
        message = item.envelope.message
        message_id = message.id if message else None
        recipients = recipients_column(planned.plan)
        is_for_others = events.save_message(conn, stored.event_id, message_id=message_id, recipients=recipients)
        if is_for_others:
            announce(conn, [work_rows([planned])])  # a message with files is announced when they are stored
    write_work_again(conn, planned)


def bisect_failures(
    items: Sequence[T], do: Callable[[Sequence[T]], None], give_up: Callable[[T, Exception], None]
) -> None:
    """Do all items together. If that fails, bisect them, and give up each single item that fails.

    StoreUnavailable is no item's fault and passes.
    """
    try:
        do(items)
    except StoreUnavailable:
        raise
    except Exception as exc:  # noqa: BLE001 -- one item's failure, whatever it is, must not stop the others
        if len(items) == 1:
            give_up(items[0], exc)
            return
        half = len(items) // 2
        bisect_failures(items[:half], do, give_up)
        bisect_failures(items[half:], do, give_up)


def _tally(prepared: PreparedChunk, items: Iterable[Parsed], new: Sequence[Parsed], now: datetime) -> Tally:
    """Count the deliveries, and the new events with the states that they begin in."""
    tally = Tally()
    for minute, companies in _received(items, now.replace(second=0, microsecond=0)).items():
        known = {company: tenant.id for company, tenant in prepared.tenants.items()}
        tally.add("received", minute, _by_tenant((known.get(each), count) for each, count in companies.items()))
    rows: Iterable[EventRow] = (row for group in prepared.groups for row in group.events)
    if len(new) != len(prepared.ids):
        keys = {item.key for item in new}
        rows = (row for row in rows if (row.company_id, row.front_id) in keys)
    begun = Counter((row.tenant_id, row.state) for row in rows)
    tally.add("recorded", now, _by_tenant((tenant, count) for (tenant, _), count in begun.items()))
    for state in OUTCOMES:
        if counts := {tenant: count for (tenant, each), count in begun.items() if each == state}:
            tally.add(state, now, counts)
    return tally


def _received(items: Iterable[Parsed], this_minute: datetime) -> dict[datetime, Counter[str]]:
    """Count the deliveries of each company by the minute in which the door took them."""
    counts: dict[datetime, Counter[str]] = {}
    for item in items:
        at = item.incoming.delivery.received_at
        minute = this_minute if at >= this_minute else at.replace(second=0, microsecond=0)
        company_id = item.envelope.company_id
        companies = counts.get(minute)
        if companies is None:
            companies = counts[minute] = Counter()
        companies[company_id] += 1
    return counts


def _by_tenant(counts: Iterable[tuple[int | None, int]]) -> Counter[int | None]:
    added: Counter[int | None] = Counter()
    for tenant_id, count in counts:
        added[tenant_id] += count
    return added


def _outcomes_of_new(prepared: PreparedChunk, new: Sequence[Parsed]) -> Iterator[Outcome]:
    """Yield the outcome of each new event's first delivery: its state, as its row has it."""
    written = {prepared.ids[item.key] for item in new}
    for group in prepared.groups:
        for event_id, row, delivery in zip(group.ids, group.events, group.deliveries, strict=True):
            if event_id in written:
                yield {
                    "event": OUTCOMES.get(row.state, "delivery_recorded"),
                    "delivery_id": delivery.id,
                    "event_id": event_id,
                    "tenant_id": row.tenant_id,
                    "company_id": row.company_id,
                    "front_id": row.front_id,
                    "type": row.type,
                    "code": row.cause,
                }


def _outcome(event: str, item: Parsed, event_id: int | None, tenants: Mapping[str, Tenant]) -> Outcome:
    tenant = tenants.get(item.envelope.company_id)
    return {
        "event": event,
        "delivery_id": item.incoming.delivery.id,
        "event_id": event_id,
        "tenant_id": tenant.id if tenant else None,
        "company_id": item.envelope.company_id,
        "front_id": item.key[1],
        "type": item.envelope.type,
        "code": None,
    }


def _write_new(
    conn: Connection, prepared: PreparedChunk, new: Iterable[Parsed], new_tasks: NewTasks | None
) -> set[int]:
    """Write all rows of the new events, and return the ids of the tenants that have work by them."""
    left_out = set(prepared.ids.values()) - {prepared.ids[item.key] for item in new}
    tenant_ids: set[int] = set()
    written: list[WorkRows] = []
    for group in prepared.groups:
        rows = group.without(left_out)
        if rows.ids:
            statements.insert_events(conn, rows.ids, rows.events)
            statements.insert_deliveries(conn, rows.deliveries)
            write_work(conn, rows.work, new_tasks)
        written.append(rows.work)
        tenant_ids |= rows.work.tenant_ids(files_only=new_tasks is not None)
    announce(conn, written)
    return tenant_ids


def _adopt(conn: Connection, parked: Sequence[StoredDelivery]) -> set[int]:
    """Do the work of parked events as if they came now; their event and delivery rows exist already."""
    now = statements.start_writing(conn)
    plan = plan_chunk(conn, _without_erased(conn, [_parse_stored(each) for each in parked])(), now)
    ids = stored_deliveries.adopt_events(conn, plan.event_rows())
    work = chunk_work(plan, ids)
    write_work(conn, work)
    announce(conn, [work])
    adopted = [plan.first[key] for key in ids]
    statements.note_changes(conn, _changed_conversations(adopted, plan.tenants), _merges(adopted, plan.tenants))
    stored_deliveries.fail_parked(conn, [each.event_id for each in parked], "its body reads as another event now")
    return work.tenant_ids()


def _parse_stored(stored: StoredDelivery) -> Parsed:
    delivery = Delivery(id=stored.id, received_at=stored.received_at, body=zlib.decompress(stored.body))
    return parse(Incoming(delivery=delivery, origin=cast("Origin", stored.origin), entry_id=stored.id))


def _without_erased(conn: Connection, items: Sequence[Parsed]) -> Answer[list[Parsed]]:
    """Ask which deliveries are to be recorded. Those of erased companies are counted and leave nothing else behind."""
    companies = [_company(item) for item in items]
    asked = erasing.erased_among(conn, {company for company in companies if company})

    def kept() -> list[Parsed]:
        erased = asked()
        if not erased:
            return list(items)
        erasing.note_dropped(conn, Counter(company for company in companies if company in erased))
        return [item for item, company in zip(items, companies, strict=True) if company not in erased]

    return kept


def _company(item: Parsed) -> str | None:
    """Return the company id, also that of a body that cannot be parsed."""
    return item.envelope.company_id or claimed_company(item.incoming.delivery.body)


def _changed_conversations(new: Iterable[Parsed], tenants: Mapping[str, Tenant]) -> list[tuple[int, str]]:
    """Return tenant id and conversation id of each conversation that somebody else changed."""
    return [
        (tenant.id, item.envelope.conversation_id)
        for item, tenant in with_tenant(new, tenants)
        if item.envelope.type in CHANGE_WEBHOOKS
        and item.envelope.source not in API_SOURCES
        and item.envelope.conversation_id
    ]


def _merges(new: Iterable[Parsed], tenants: Mapping[str, Tenant]) -> list[Merge]:
    """Return the merges that these events tell of, in their order."""
    return [
        Merge(tenant_id=tenant.id, merged_id=merged_id, surviving_id=item.envelope.conversation_id)
        for item, tenant in with_tenant(new, tenants)
        if item.envelope.conversation_id
        for merged_id in item.envelope.merged_ids
        if merged_id != item.envelope.conversation_id
    ]


def _webhook_types(items: Iterable[Parsed]) -> set[str]:
    """Return the known event types that came by webhook, and not by a repair."""
    types = {item.envelope.type for item in items if item.incoming.origin != "repaired"}
    return {event_type for event_type in types if is_known(event_type)}
