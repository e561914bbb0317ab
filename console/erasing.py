"""Erases a tenant, or a company that no tenant has: everything of it, wherever it is kept.

The first transaction marks it, so that nothing more happens for it and what is still sent is dropped; the last deletes
the tenant. Interrupted anywhere between, it is done again from the start.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from shared.connection.budget import Budget
from shared.db.core.pool import Pool
from shared.db.recording import spool
from shared.db.tenants import erasing
from shared.db.tenants.erasing import Subject
from shared.front.envelope import company_of
from shared.intake.client import Intake
from shared.storage import Storage

EVENTS_AT_ONCE = 200
ROWS_AT_ONCE = 5_000
BODIES_AT_ONCE = 20
LOOK_AGAIN_SECONDS = 0.5

Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where Mailroom keeps anything."""

    pool: Pool
    intake: Intake
    budget: Budget
    storage: Storage


def wait_for_running(places: Places, subject: Subject, tell: Callable[[int], None]) -> None:
    """Return when no worker is at work for the tenant; `tell` hears how many tasks still run when that changes."""
    told = 0
    while subject.tenant_id is not None:
        running = places.pool.run(partial(erasing.count_running_tasks, tenant_id=subject.tenant_id))
        if not running:
            return
        if running != told:
            tell(running)
        told = running
        time.sleep(LOOK_AGAIN_SECONDS)


def remove(places: Places, subject: Subject, advance: Advance) -> dict[str, int]:
    """Remove all that is left of who was marked; what was found where no table has it. Raises NotErasing.

    `advance` hears of the rows that went: events and those of the tenant's own tables.
    """
    removed = {}
    if subject.company_id is not None:
        removed["intake deliveries"] = _from_intake(places.intake, subject.company_id)
        removed["spooled deliveries"] = _from_spool(places.pool, subject.company_id)
        _delete_events(places.pool, subject.company_id, advance)
        removed["unread events"] = _delete_unread(places.pool, subject.company_id)
        places.budget.forget(subject.company_id)
    if subject.tenant_id is not None:
        _delete_of_tenant(places.pool, subject.tenant_id, advance)
        removed["files"] = places.storage.delete_tenant(subject.tenant_id)
        places.pool.run(partial(erasing.delete_tenant, tenant_id=subject.tenant_id))
    return {what: number for what, number in removed.items() if number}


def _from_intake(intake: Intake, company_id: str) -> int:
    word, removed = company_id.encode(), 0
    for entries in intake.walk():
        theirs = [
            entry.entry_id
            for entry in entries
            if word in entry.delivery.body and company_of(entry.delivery.body) == company_id
        ]
        intake.delete(theirs)
        removed += len(theirs)
    return removed


def _from_spool(pool: Pool, company_id: str) -> int:
    last: str | None = None
    removed = 0
    look = partial(spool.containing, word=company_id.encode(), limit=BODIES_AT_ONCE)
    while found := pool.run(partial(look, after=last)):
        last = found[-1][0]
        theirs = [delivery_id for delivery_id, body in found if company_of(body) == company_id]
        pool.run(partial(spool.delete, delivery_ids=theirs))
        removed += len(theirs)
    return removed


def _delete_events(pool: Pool, company_id: str, advance: Advance) -> None:
    deleted, last = 1, ""
    while deleted:
        delete = partial(erasing.delete_events, company_id=company_id, after=last, limit=EVENTS_AT_ONCE)
        deleted, last = pool.run(delete)
        advance(deleted)


def _delete_unread(pool: Pool, company_id: str) -> int:
    """What could not be read is nobody's event, though its body may say whose it was."""
    last, removed = 0, 0
    while found := pool.run(partial(erasing.unread_bodies, after=last, limit=BODIES_AT_ONCE)):
        last = found[-1][0]
        theirs = [event_id for event_id, body in found if company_of(zlib.decompress(body)) == company_id]
        removed += pool.run(partial(erasing.delete_events_by_id, event_ids=theirs))
    return removed


def _delete_of_tenant(pool: Pool, tenant_id: int, advance: Advance) -> None:
    for table in pool.run(erasing.tenant_tables):
        delete = partial(erasing.delete_rows, table=table, tenant_id=tenant_id, limit=ROWS_AT_ONCE)
        while deleted := pool.run(delete):
            advance(deleted)
