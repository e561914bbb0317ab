"""Compares one page of Front's list with what is recorded, and feeds the recorder what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from shared.db import recording, repairs, spool
from shared.db.pool import Connection
from shared.db.repairs import Progress, Repair
from shared.front.listed import Listed
from shared.models import Delivery

#: A slice says nothing for as long as one call of Front may take, and PostgreSQL after it.
CLAIM_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Page:
    """The events that count, what was listed besides, and where the list goes on."""

    number: int
    events: Sequence[Listed]
    reached: datetime | None
    following: str | None


def write_page(conn: Connection, repair: Repair, page: Page) -> int:
    """Move the repair past this page, with what is missing fed in the same transaction; how many are. Raises Fenced."""
    events = {(repair.company_id, each.front_id): each for each in page.events}
    known = recording.known_events(conn, events)
    missing = [event for key, event in events.items() if key not in known]
    progress = Progress(
        pages=page.number,
        seen=len(events),
        missing=len(missing),
        hours=_by_hour(list(events.values()), missing),
        position=page.reached,
        next_page=page.following,
    )
    if repairs.move(conn, repair, progress, seconds=CLAIM_SECONDS) and missing and not repair.dry_run:
        spool.feed(conn, [_delivery(repair, event) for event in missing])
    return len(missing)


def _delivery(repair: Repair, event: Listed) -> Delivery:
    """The same id whenever this repair comes upon this event: fed once."""
    delivery_id = uuid5(NAMESPACE_URL, f"repair:{repair.id}:{event.front_id}").hex
    return Delivery(id=delivery_id, received_at=datetime.now(UTC), body=event.body)


def _by_hour(events: Sequence[Listed], missing: Sequence[Listed]) -> dict[str, tuple[int, int]]:
    seen, gaps = Counter(map(_hour, events)), Counter(map(_hour, missing))
    return {hour: (count, gaps[hour]) for hour, count in seen.items()}


def _hour(event: Listed) -> str:
    return event.emitted_at.astimezone(UTC).strftime("%Y-%m-%dT%H:00Z")
