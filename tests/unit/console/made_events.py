"""An event as it is read when nothing happened to it but recording, for tests that change a part of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shared.db.reading.events import EventDetails, EventHeader

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return the moment so long after the event was received."""
    return START + timedelta(seconds=seconds)


HEADER = EventHeader(
    number=1,
    id="evt_1",
    tenant_id=1,
    company_id="cmp_a",
    tenant="Acme",
    type="inbound_received",
    state="done",
    cause=None,
    conversation_id="cnv_1",
    message_id="msg_1",
    emitted_at=at(-1),
    received_at=at(0),
    recorded_at=at(1),
    parked_at=None,
)
EVENT = EventDetails(
    header=HEADER, deliveries=[], recipients=[], attachments=[], action=None, tasks=[], attempts=[], journal=[]
)
