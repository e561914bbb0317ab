"""Thinks a chunk through before it is written: whose each message is, what follows from it, and all of its rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from isal import isal_zlib

from shared.db.core.pool import Connection
from shared.db.recording import statements
from shared.db.recording.rows import DeliveryRow, EventRow, TaskRow
from shared.db.recording.statements import owners_of
from shared.errors import MalformedEnvelope
from shared.front.envelope import is_known
from shared.models import EventKey, Message, Owners, Plan, Tenant
from workers.matching import keys_to_look_up
from workers.recording.parse import Parsed
from workers.recording.plan import plan_message
from workers.recording.write import PlannedEvent, Work, has_work, recipients_of, work_of

#: So many events are written together. While PostgreSQL writes them, the next ones are sent.
PIECE = 250
Ids = Mapping[EventKey, int]


class Thought(NamedTuple):
    """Each event once, by its earliest delivery, with what the database said of its company when it was asked."""

    first: Mapping[EventKey, Parsed]
    tenants: Mapping[str, Tenant]
    plans: Mapping[EventKey, Plan]

    def events(self) -> list[EventRow]:
        """The events' own rows, in key order: two recorders never deadlock."""
        return [event_row(self.first[key], self.tenants, self.plans.get(key)) for key in sorted(self.first)]


class Piece(NamedTuple):
    """All rows of some events, whose `ids` are as many and in the same order."""

    ids: Sequence[int]
    events: Sequence[EventRow]
    deliveries: Sequence[DeliveryRow]
    work: Work

    def without(self, ids: Collection[int]) -> Piece:
        """The rows of the others."""
        if not ids:
            return self
        left = [place for place, event_id in enumerate(self.ids) if event_id not in ids]
        return Piece(
            ids=[self.ids[place] for place in left],
            events=[self.events[place] for place in left],
            deliveries=[self.deliveries[place] for place in left],
            work=self.work.without(ids),
        )


class Prepared(NamedTuple):
    """A chunk as it is to be written; `ids` of all its events, as if none of them were known."""

    first: Mapping[EventKey, Parsed]
    tenants: Mapping[str, Tenant]
    ids: Ids
    pieces: Sequence[Piece]


def prepare(conn: Connection, chunk: Sequence[Parsed], now: datetime) -> Prepared:
    """Look up and plan; writes nothing, and takes no locks: before it is written, it is asked what has come between."""
    thought = think(conn, chunk, now)
    keys = sorted(thought.first)
    ids = dict(zip(keys, statements.new_event_ids(conn, len(keys)), strict=True))
    pieces = [_piece(thought, keys[begin : begin + PIECE], ids) for begin in range(0, len(keys), PIECE)]
    return Prepared(first=thought.first, tenants=thought.tenants, ids=ids, pieces=pieces)


def think(conn: Connection, chunk: Sequence[Parsed], now: datetime) -> Thought:
    """Find each event's tenant, and what follows from its message."""
    first = {item.key: item for item in reversed(chunk)}
    tenants = statements.tenants_of(conn, {item.envelope.company_id for item in first.values()})
    return Thought(first=first, tenants=tenants, plans=_plans(conn, first.values(), tenants, now))


def with_tenant(items: Iterable[Parsed], tenants: Mapping[str, Tenant]) -> Iterator[tuple[Parsed, Tenant]]:
    """Those whose company somebody has."""
    for item in items:
        if tenant := tenants.get(item.envelope.company_id):
            yield item, tenant


def find_owners(conn: Connection, messages: Iterable[tuple[Tenant, Message]]) -> dict[int, Owners]:
    """Whose every address is that the messages were sent to, by tenant id."""
    return owners_of(
        conn,
        {
            (tenant.id, key)
            for tenant, message in messages
            for key in keys_to_look_up(message.recipients or (), fold_plus=tenant.fold_plus)
        },
    )


def event_row(item: Parsed, tenants: Mapping[str, Tenant], plan: Plan | None) -> EventRow:
    """The row of a new event."""
    envelope, tenant = item.envelope, tenants.get(item.envelope.company_id)
    state, cause = _state(item, tenant, plan)
    company_id, front_id = item.key
    return EventRow(
        company_id=company_id,
        front_id=front_id,
        tenant_id=tenant.id if tenant else None,
        type=envelope.type,
        conversation_id=envelope.conversation_id,
        message_id=envelope.message.id if envelope.message else None,
        source=envelope.source,
        emitted_at=envelope.emitted_at,
        received_at=item.incoming.delivery.received_at,
        state=state,
        cause=cause,
        recipients=recipients_of(plan) if plan else None,
    )


def delivery_row(item: Parsed, event_id: int, *, keeps_body: bool = False) -> DeliveryRow:
    """The row of a delivery of that event; the first one keeps the body."""
    delivery = item.incoming.delivery
    return DeliveryRow(
        id=delivery.id,
        event_id=event_id,
        received_at=delivery.received_at,
        origin=item.incoming.origin,
        body=isal_zlib.compress(delivery.body, 1) if keeps_body else None,
    )


def work_rows(thought: Thought, ids: Ids) -> Work:
    """What is to be done for these events."""
    work = work_of([_planned(thought, key, event_id) for key, event_id in ids.items() if key in thought.plans])
    failed = [_failed(thought.first[key], event_id) for key, event_id in ids.items() if thought.first[key].problem]
    return work._replace(tasks=[*work.tasks, *failed])


def _piece(thought: Thought, keys: Sequence[EventKey], ids: Ids) -> Piece:
    items = [thought.first[key] for key in keys]
    return Piece(
        ids=[ids[key] for key in keys],
        events=[event_row(item, thought.tenants, thought.plans.get(item.key)) for item in items],
        deliveries=[delivery_row(item, ids[item.key], keeps_body=True) for item in items],
        work=work_rows(thought, {key: ids[key] for key in keys}),
    )


def _plans(
    conn: Connection, items: Collection[Parsed], tenants: Mapping[str, Tenant], now: datetime
) -> dict[EventKey, Plan]:
    """The plan of each message event whose company is known."""
    messages = [
        (item, tenant, item.envelope.message) for item, tenant in with_tenant(items, tenants) if item.envelope.message
    ]
    owners = find_owners(conn, [(tenant, message) for _, tenant, message in messages])
    return {
        item.key: plan_message(
            tenant,
            message,
            owners.get(tenant.id, {}),
            event_type=item.envelope.type,
            conversation_id=item.envelope.conversation_id,
            emitted_at=_emitted_at(item),
            now=now,
            inbox_ids=item.envelope.inbox_ids,
        )
        for item, tenant, message in messages
    }


def _state(item: Parsed, tenant: Tenant | None, plan: Plan | None) -> tuple[str, str | None]:
    if item.problem:
        return "failed", MalformedEnvelope.code
    if not is_known(item.envelope.type):
        return "ignored", "unknown_type"
    if tenant is None:
        return "parked", "unknown_company"
    return ("processing", None) if plan and has_work(plan) else ("done", None)


def _planned(thought: Thought, key: EventKey, event_id: int) -> PlannedEvent:
    item = thought.first[key]
    return PlannedEvent(
        event_id=event_id,
        tenant_id=thought.tenants[item.envelope.company_id].id,
        conversation_id=item.envelope.conversation_id or "",
        emitted_at=_emitted_at(item),
        plan=thought.plans[key],
    )


def _failed(item: Parsed, event_id: int) -> TaskRow:
    return TaskRow(tenant_id=None, event_id=event_id, kind="record", failed=MalformedEnvelope.code, detail=item.problem)


def _emitted_at(item: Parsed) -> datetime:
    return item.envelope.emitted_at or item.incoming.delivery.received_at
