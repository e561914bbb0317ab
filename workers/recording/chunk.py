"""Records a chunk of deliveries in one transaction: every row of every delivery, or none."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

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
from workers.recording.read import Incoming, Parsed, parse
from workers.recording.seen_types import SeenTypes
from workers.recording.write import PlannedEvent, has_work, write_plans

Ids = Mapping[EventKey, int]


def record_chunk(
    conn: Connection, chunk: Sequence[Incoming], *, adopt: bool = False, types: SeenTypes | None = None
) -> set[int]:
    """Record the chunk and return the ids of the tenants that have new work.

    With `adopt`, the deliveries are those of events that were parked for their unknown company: the same path, but
    the event and delivery rows are there already. `types` notes which events this app gets webhooks of.
    """
    now = recording.begin(conn)
    parsed = without_erased(conn, [parse(incoming) for incoming in chunk])
    first = {item.key: item for item in reversed(parsed)}  # the earliest delivery of each event
    tenants = recording.tenants_of(conn, {item.envelope.company_id for item in first.values()})
    plans = _plan(conn, first.values(), tenants, now)
    rows = [_event(first[key], tenants, plans) for key in sorted(first)]
    if adopt:
        fresh = recording.adopt_events(conn, rows)
    else:
        fresh = recording.insert_events(conn, rows)
        known = recording.known_events(conn, first.keys() - fresh.keys())
        recording.insert_deliveries(conn, list(_deliveries(parsed, first, fresh, known)))
    if types:
        types.note(conn, parsed)
    return _write_work(conn, [first[key] for key in fresh], fresh, tenants, plans)


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
    recording.wake_actions(conn, _changed(new, tenants))
    return {event.tenant_id for event in planned if event.has_work}


def _plan(
    conn: Connection, items: Iterable[Parsed], tenants: Mapping[str, Tenant], now: datetime
) -> dict[EventKey, Plan]:
    """The plan of each message event whose company is known."""
    messages = [
        (item, tenants[item.envelope.company_id], item.envelope.message)
        for item in items
        if item.envelope.message and item.envelope.company_id in tenants
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
    state, cause = _state(item, tenant, plans.get(item.key))
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
    )


def _state(item: Parsed, tenant: Tenant | None, plan: Plan | None) -> tuple[str, str | None]:
    if item.problem:
        return "failed", MalformedEnvelope.code
    if not is_known(item.envelope.type):
        return "ignored", "unknown_type"
    if tenant is None:
        return "parked", "unknown_company"
    return ("processing", None) if plan and has_work(plan) else ("done", None)


def _deliveries(
    parsed: Iterable[Parsed], first: Mapping[EventKey, Parsed], fresh: Ids, known: Ids
) -> Iterator[DeliveryRow]:
    for item in parsed:
        keeps_body = item.key in fresh and first[item.key] is item
        event_id = fresh.get(item.key) or known[item.key]
        delivery = item.incoming.delivery
        yield DeliveryRow(
            id=delivery.id,
            event_id=event_id,
            received_at=delivery.received_at,
            origin=item.incoming.origin,
            body=zlib.compress(delivery.body, 1) if keeps_body else None,
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
        (tenants[item.envelope.company_id].id, item.envelope.conversation_id)
        for item in new
        if item.envelope.type in CHANGES
        and item.envelope.source not in API_SOURCES
        and item.envelope.conversation_id
        and item.envelope.company_id in tenants
    ]


def _emitted_at(item: Parsed) -> datetime:
    return item.envelope.emitted_at or item.incoming.delivery.received_at
