"""Records a chunk of deliveries in one transaction: every row of every delivery, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from shared.db import recording
from shared.db.pool import Connection
from shared.models import Tenant
from workers.precedence import API_SOURCES, CHANGES
from workers.recording.erased import drop_erased
from workers.recording.prepare import Prepared, delivery_row, prepare, think, with_tenant, work_rows
from workers.recording.read import Parsed
from workers.recording.seen_types import SeenTypes, came_by_webhook
from workers.recording.write import write_work


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
    now = recording.begin(conn)
    prepared = prepared or prepare(conn, chunk, now)
    left = drop_erased(conn, chunk)
    old = recording.known_events(conn, prepared.ids)
    new = [item for item in left if item.key not in old and prepared.first[item.key] is item]
    working = _write(conn, prepared, new)
    others = [item for item in left if item.key in old or prepared.first[item.key] is not item]
    ids = {**prepared.ids, **old}
    recording.insert_deliveries(conn, [delivery_row(item, ids[item.key]) for item in others])
    recording.wake_actions(conn, _changed(new, prepared.tenants))
    if types:
        types.note(conn, came_by_webhook(left))
    return working


def adopt_chunk(conn: Connection, chunk: Sequence[Parsed]) -> set[int]:
    """Work through events that were parked for their unknown company, as if they came now.

    Their event and delivery rows are there already. Gives the ids of the tenants that have new work.
    """
    now = recording.begin(conn)
    thought = think(conn, drop_erased(conn, chunk), now)
    ids = recording.adopt_events(conn, thought.events())
    work = work_rows(thought, ids)
    write_work(conn, work)
    recording.wake_actions(conn, _changed((thought.first[key] for key in ids), thought.tenants))
    return work.tenants()


def _write(conn: Connection, prepared: Prepared, new: Iterable[Parsed]) -> set[int]:
    """Write all rows of these events; the tenants that have work by them."""
    gone = set(prepared.ids.values()) - {prepared.ids[item.key] for item in new}
    working: set[int] = set()
    for piece in prepared.pieces:
        rows = piece.without(gone)
        if rows.ids:
            recording.insert_events(conn, rows.ids, rows.events)
            recording.insert_deliveries(conn, rows.deliveries)
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
