"""Records a chunk of deliveries in one transaction: every row of every delivery, or none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from isal import isal_zlib

from shared.db import recording
from shared.db.owners import owners_of
from shared.db.pool import Connection
from shared.db.rows import DeliveryRow, EventRow, TaskRow
from shared.errors import MalformedEnvelope
from shared.front.envelope import is_known
from shared.models import EventKey, Message, Owners, Plan, Tenant
from workers.matching import keys_to_look_up
from workers.precedence import API_SOURCES, CHANGES
from workers.recording.erased import without_erased
from workers.recording.plan import plan_message
from workers.recording.read import Parsed
from workers.recording.seen_types import SeenTypes, came_by_webhook
from workers.recording.write import PlannedEvent, has_work, recipients_of, write_plans

#: So many events are written together. While PostgreSQL writes them, the next ones' rows are made.
PIECE = 250
Ids = Mapping[EventKey, int]


def record_chunk(
    conn: Connection, chunk: Sequence[Parsed], *, adopt: bool = False, types: SeenTypes | None = None
) -> set[int]:
    """Record the chunk and return the ids of the tenants that have new work.

    With `adopt`, the deliveries are those of events that were parked for their unknown company: the same path, but
    the event and delivery rows are there already. `types` notes which events this app gets webhooks of.

    Everything is looked up before anything is written: in a pipeline nobody waits for PostgreSQL after that.
    """
    now = recording.begin(conn)
    parsed = without_erased(conn, chunk)
    first = {item.key: item for item in reversed(parsed)}  # the earliest delivery of each event
    known = _look_up(conn, first.values(), now)
    if adopt:
        return _adopt(conn, first, known)
    working = _insert(conn, parsed, first, known)
    if types:
        types.note(conn, came_by_webhook(parsed))
    return working


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the database says about a chunk before it is written."""

    now: datetime
    tenants: Mapping[str, Tenant]
    owners: Mapping[int, Owners]


def _look_up(conn: Connection, items: Collection[Parsed], now: datetime) -> _Known:
    tenants = recording.tenants_of(conn, {item.envelope.company_id for item in items})
    messages = [
        (tenant, item.envelope.message) for item, tenant in _with_tenant(items, tenants) if item.envelope.message
    ]
    return _Known(now=now, tenants=tenants, owners=find_owners(conn, messages))


def _adopt(conn: Connection, first: Mapping[EventKey, Parsed], known: _Known) -> set[int]:
    plans = _plans(first.values(), known)
    ids = recording.adopt_events(conn, [_event(first[key], known.tenants, plans) for key in sorted(first)])
    adopted = [first[key] for key in ids]
    working = _write_work(conn, adopted, ids, known.tenants, plans)
    recording.wake_actions(conn, _changed(adopted, known.tenants))
    return working


def _insert(conn: Connection, parsed: Sequence[Parsed], first: Mapping[EventKey, Parsed], known: _Known) -> set[int]:
    """Write new events piece by piece, in key order: two recorders never deadlock; then the other deliveries.

    Conversations are locked once, at the end: whoever locks several takes them all in one order.
    """
    old = recording.known_events(conn, first)
    new = sorted(first.keys() - old.keys())
    ids = dict(zip(new, recording.new_event_ids(conn, len(new)), strict=True))
    working: set[int] = set()
    for begin in range(0, len(new), PIECE):
        working |= _insert_piece(conn, [first[key] for key in new[begin : begin + PIECE]], ids, known)
    others = [item for item in parsed if item.key in old or first[item.key] is not item]
    recording.insert_deliveries(conn, [_delivery(item, old.get(item.key) or ids[item.key]) for item in others])
    recording.wake_actions(conn, _changed((first[key] for key in new), known.tenants))
    return working


def _insert_piece(conn: Connection, items: Sequence[Parsed], ids: Ids, known: _Known) -> set[int]:
    plans = _plans(items, known)
    recording.insert_events(
        conn, [ids[item.key] for item in items], [_event(item, known.tenants, plans) for item in items]
    )
    recording.insert_deliveries(conn, [_delivery(item, ids[item.key], keeps_body=True) for item in items])
    return _write_work(conn, items, ids, known.tenants, plans)


def _write_work(
    conn: Connection,
    new: Sequence[Parsed],
    ids: Ids,
    tenants: Mapping[str, Tenant],
    plans: Mapping[EventKey, Plan],
) -> set[int]:
    planned = [_planned(item, ids[item.key], tenants, plans[item.key]) for item in new if item.key in plans]
    write_plans(conn, planned)
    recording.insert_tasks(conn, [_failed(item, ids[item.key]) for item in new if item.problem])
    return {event.tenant_id for event in planned if event.has_work}


def _with_tenant(items: Iterable[Parsed], tenants: Mapping[str, Tenant]) -> Iterator[tuple[Parsed, Tenant]]:
    for item in items:
        if tenant := tenants.get(item.envelope.company_id):
            yield item, tenant


def _plans(items: Iterable[Parsed], known: _Known) -> dict[EventKey, Plan]:
    """The plan of each message event whose company is known."""
    return {
        item.key: plan_message(
            tenant,
            item.envelope.message,
            known.owners.get(tenant.id, {}),
            event_type=item.envelope.type,
            conversation_id=item.envelope.conversation_id,
            emitted_at=_emitted_at(item),
            now=known.now,
            inbox_ids=item.envelope.inbox_ids,
        )
        for item, tenant in _with_tenant(items, known.tenants)
        if item.envelope.message
    }


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


def _event(item: Parsed, tenants: Mapping[str, Tenant], plans: Mapping[EventKey, Plan]) -> EventRow:
    envelope, tenant = item.envelope, tenants.get(item.envelope.company_id)
    plan = plans.get(item.key)
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


def _state(item: Parsed, tenant: Tenant | None, plan: Plan | None) -> tuple[str, str | None]:
    if item.problem:
        return "failed", MalformedEnvelope.code
    if not is_known(item.envelope.type):
        return "ignored", "unknown_type"
    if tenant is None:
        return "parked", "unknown_company"
    return ("processing", None) if plan and has_work(plan) else ("done", None)


def _delivery(item: Parsed, event_id: int, *, keeps_body: bool = False) -> DeliveryRow:
    delivery = item.incoming.delivery
    return DeliveryRow(
        id=delivery.id,
        event_id=event_id,
        received_at=delivery.received_at,
        origin=item.incoming.origin,
        body=isal_zlib.compress(delivery.body, 1) if keeps_body else None,
    )


def _planned(item: Parsed, event_id: int, tenants: Mapping[str, Tenant], plan: Plan) -> PlannedEvent:
    return PlannedEvent(
        event_id=event_id,
        tenant_id=tenants[item.envelope.company_id].id,
        conversation_id=item.envelope.conversation_id or "",
        emitted_at=_emitted_at(item),
        plan=plan,
    )


def _failed(item: Parsed, event_id: int) -> TaskRow:
    return TaskRow(tenant_id=None, event_id=event_id, kind="record", failed=MalformedEnvelope.code, detail=item.problem)


def _changed(new: Iterable[Parsed], tenants: Mapping[str, Tenant]) -> list[tuple[int, str]]:
    """The conversations that somebody else changed."""
    return [
        (tenant.id, item.envelope.conversation_id)
        for item, tenant in _with_tenant(new, tenants)
        if item.envelope.type in CHANGES and item.envelope.source not in API_SOURCES and item.envelope.conversation_id
    ]


def _emitted_at(item: Parsed) -> datetime:
    return item.envelope.emitted_at or item.incoming.delivery.received_at
