"""Prepares a chunk of deliveries: finds each event's tenant, plans the work, and makes all rows to be written.

Preparing writes nothing and takes no locks, so it may happen while PostgreSQL still writes the chunk before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from isal import isal_zlib

from shared.db.core.pool import Connection
from shared.db.recording import statements
from shared.db.recording.rows import DeliveryRow, EventRow, TaskRow
from shared.db.recording.statements import Answer
from shared.errors import MalformedEnvelope
from shared.front.envelope import is_known
from shared.models import EventKey, Message, Owners, Plan, Tenant
from workers.matching import keys_to_look_up
from workers.policy import plan_message
from workers.recording.parse import Parsed
from workers.recording.write import PlannedEvent, WorkRows, has_work, is_incomplete, recipients_column, work_rows

#: The number of events whose rows are sent together. The next group is sent while PostgreSQL writes this one.
GROUP_SIZE = 250
EventIds = Mapping[EventKey, int]


class ChunkPlan(NamedTuple):
    """Each event of a chunk once, by its first delivery, with its tenant and its plan.

    `tenants` are by company id; `plans` has only message events whose company is known.
    """

    first: Mapping[EventKey, Parsed]
    tenants: Mapping[str, Tenant]
    plans: Mapping[EventKey, Plan]

    def event_rows(self) -> list[EventRow]:
        """Make the events' own rows, in key order: then two recorders never deadlock."""
        return [_event_row(self.first[key], self.tenants, self.plans.get(key)) for key in sorted(self.first)]


class RowGroup(NamedTuple):
    """All rows of some events. `ids`, `events` and `deliveries` are in the same order, one per event."""

    ids: Sequence[int]
    events: Sequence[EventRow]
    deliveries: Sequence[DeliveryRow]
    work: WorkRows

    def without(self, event_ids: Collection[int]) -> RowGroup:
        """Return the rows of all other events."""
        if not event_ids:
            return self
        left = [index for index, event_id in enumerate(self.ids) if event_id not in event_ids]
        return RowGroup(
            ids=[self.ids[index] for index in left],
            events=[self.events[index] for index in left],
            deliveries=[self.deliveries[index] for index in left],
            work=self.work.without(event_ids),
        )


class PreparedChunk(NamedTuple):
    """A chunk with all of its rows. `ids` has a new id for each event, as if none of them were recorded yet."""

    first: Mapping[EventKey, Parsed]
    tenants: Mapping[str, Tenant]
    ids: EventIds
    groups: Sequence[RowGroup]


def prepare(conn: Connection, chunk: Sequence[Parsed], now: Answer[datetime]) -> PreparedChunk:
    """Plan the chunk and make its rows. `record_chunk` leaves out the events that were recorded since."""
    keys = sorted({item.key for item in chunk if item.is_event})
    drawn = statements.new_event_ids(conn, len(keys))
    plan = plan_chunk(conn, chunk, now)
    ids = dict(zip(keys, drawn(), strict=True))
    groups = [_row_group(plan, keys[begin : begin + GROUP_SIZE], ids) for begin in range(0, len(keys), GROUP_SIZE)]
    return PreparedChunk(first=plan.first, tenants=plan.tenants, ids=ids, groups=groups)


def plan_chunk(conn: Connection, chunk: Sequence[Parsed], now: Answer[datetime]) -> ChunkPlan:
    """Find each event's tenant, and plan the work that follows from its message.

    The time is taken when the tenants are known: in a pipeline it has come with them.
    """
    first = {item.key: item for item in reversed(chunk) if item.is_event}
    tenants = statements.tenants_of(conn, {item.envelope.company_id for item in first.values()})
    return ChunkPlan(first=first, tenants=tenants, plans=_plans(conn, first.values(), tenants, now()))


def find_owners(conn: Connection, messages: Iterable[tuple[Tenant, Message]]) -> dict[int, Owners]:
    """Find the owner of each recipient address, by tenant id."""
    return statements.owners_of(
        conn,
        {
            (tenant.id, key)
            for tenant, message in messages
            for key in keys_to_look_up(message.recipients or (), fold_plus=tenant.fold_plus)
        },
    )


def with_tenant(items: Iterable[Parsed], tenants: Mapping[str, Tenant]) -> Iterator[tuple[Parsed, Tenant]]:
    """Yield the deliveries whose company belongs to a tenant, with the tenant."""
    for item in items:
        if tenant := tenants.get(item.envelope.company_id):
            yield item, tenant


def delivery_row(item: Parsed, event_id: int, *, keeps_body: bool = False) -> DeliveryRow:
    """Make the row of a delivery of this event. Only an event's first delivery keeps the body."""
    delivery = item.incoming.delivery
    return DeliveryRow(
        id=delivery.id,
        event_id=event_id,
        received_at=delivery.received_at,
        origin=item.incoming.origin,
        body=isal_zlib.compress(delivery.body, 1) if keeps_body else None,
    )


def chunk_work(plan: ChunkPlan, ids: EventIds) -> WorkRows:
    """Make the rows of the work for these events; a malformed one gets a failed task."""
    work = work_rows([planned_event(plan, key, event_id) for key, event_id in ids.items() if key in plan.plans])
    failed = [_failed_task(plan.first[key], event_id) for key, event_id in ids.items() if plan.first[key].problem]
    return work._replace(tasks=[*work.tasks, *failed])


def planned_event(plan: ChunkPlan, key: EventKey, event_id: int) -> PlannedEvent:
    """Return the event with the plan for its message."""
    item = plan.first[key]
    return PlannedEvent(
        event_id=event_id,
        tenant_id=plan.tenants[item.envelope.company_id].id,
        conversation_id=item.envelope.conversation_id or "",
        emitted_at=item.envelope.emitted_at or item.incoming.delivery.received_at,
        event_type=item.envelope.type,
        plan=plan.plans[key],
    )


def _row_group(plan: ChunkPlan, keys: Sequence[EventKey], ids: EventIds) -> RowGroup:
    items = [plan.first[key] for key in keys]
    return RowGroup(
        ids=[ids[key] for key in keys],
        events=[_event_row(item, plan.tenants, plan.plans.get(item.key)) for item in items],
        deliveries=[delivery_row(item, ids[item.key], keeps_body=True) for item in items],
        work=chunk_work(plan, {key: ids[key] for key in keys}),
    )


def _plans(
    conn: Connection, items: Collection[Parsed], tenants: Mapping[str, Tenant], now: datetime
) -> dict[EventKey, Plan]:
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
            emitted_at=item.envelope.emitted_at,
            now=now,
            inbox_ids=item.envelope.inbox_ids,
        )
        for item, tenant, message in messages
    }


def _event_row(item: Parsed, tenants: Mapping[str, Tenant], plan: Plan | None) -> EventRow:
    envelope, tenant = item.envelope, tenants.get(item.envelope.company_id)
    state, cause = _event_state(item, tenant, plan)
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
        recipients=recipients_column(plan) if plan else None,
        to_announce=plan is not None and is_incomplete(plan),
    )


def _event_state(item: Parsed, tenant: Tenant | None, plan: Plan | None) -> tuple[str, str | None]:
    """Return the new event's state and cause."""
    if item.problem:
        return "failed", MalformedEnvelope.code
    if not is_known(item.envelope.type):
        return "ignored", "unknown_type"
    if tenant is None:
        return "parked", "unknown_company"
    return ("processing", None) if plan and has_work(plan) else ("done", None)


def _failed_task(item: Parsed, event_id: int) -> TaskRow:
    return TaskRow(tenant_id=None, event_id=event_id, kind="record", failed=MalformedEnvelope.code, detail=item.problem)
