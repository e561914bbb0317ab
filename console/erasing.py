"""Erase a tenant, or a company that no tenant has, from every store.

The first transaction marks it: work for it stops, and its later deliveries are dropped. The last transaction deletes
the tenant. After an interruption in between, everything is done again from the start.
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

# How much one transaction takes.
EVENTS_AT_ONCE = 200
ROWS_AT_ONCE = 5_000
BODIES_AT_ONCE = 20

POLL_SECONDS = 0.5

Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Every store in which Mailroom keeps something of a tenant."""

    pool: Pool
    intake: Intake
    budget: Budget
    storage: Storage


def wait_for_running_tasks(stores: Stores, subject: Subject, report: Callable[[int], None]) -> None:
    """Return when none of the tenant's tasks runs any more. `report` takes their number whenever it changes."""
    reported = 0
    while subject.tenant_id is not None:
        running = stores.pool.run(partial(erasing.count_running_tasks, tenant_id=subject.tenant_id))
        if not running:
            return
        if running != reported:
            report(running)
        reported = running
        time.sleep(POLL_SECONDS)


def erase_everything(stores: Stores, subject: Subject, advance: Advance) -> dict[str, int]:
    """Remove all that is left of a marked subject. Raises NotErasing.

    Returns how many things were removed that no row of the subject's tables counts: deliveries, unread events, files.
    `advance` takes the number of deleted events and rows of the tenant's own tables.
    """
    removed = {}
    if subject.company_id is not None:
        removed["intake deliveries"] = _delete_from_intake(stores.intake, subject.company_id)
        removed["spooled deliveries"] = _delete_from_spool(stores.pool, subject.company_id)
        _delete_events(stores.pool, subject.company_id, advance)
        removed["unread events"] = _delete_unread_events(stores.pool, subject.company_id)
        stores.budget.forget(subject.company_id)
    if subject.tenant_id is not None:
        _delete_tenant_rows(stores.pool, subject.tenant_id, advance)
        removed["files"] = stores.storage.delete_tenant(subject.tenant_id)
        stores.pool.run(partial(erasing.delete_tenant, tenant_id=subject.tenant_id))
    return {what: number for what, number in removed.items() if number}


def _delete_from_intake(intake: Intake, company_id: str) -> int:
    word, removed = company_id.encode(), 0
    for entries in intake.walk():
        entry_ids = [
            entry.entry_id
            for entry in entries
            if word in entry.delivery.body and company_of(entry.delivery.body) == company_id
        ]
        intake.delete(entry_ids)
        removed += len(entry_ids)
    return removed


def _delete_from_spool(pool: Pool, company_id: str) -> int:
    last: str | None = None
    removed = 0
    search = partial(spool.containing, word=company_id.encode(), limit=BODIES_AT_ONCE)
    while found := pool.run(partial(search, after=last)):
        last = found[-1][0]
        delivery_ids = [delivery_id for delivery_id, body in found if company_of(body) == company_id]
        pool.run(partial(spool.delete, delivery_ids=delivery_ids))
        removed += len(delivery_ids)
    return removed


def _delete_events(pool: Pool, company_id: str, advance: Advance) -> None:
    deleted, last = 1, ""
    while deleted:
        delete = partial(erasing.delete_events, company_id=company_id, after=last, limit=EVENTS_AT_ONCE)
        deleted, last = pool.run(delete)
        advance(deleted)


def _delete_unread_events(pool: Pool, company_id: str) -> int:
    """Delete events that could not be parsed: no column says whose they are, but the body may."""
    last, removed = 0, 0
    while found := pool.run(partial(erasing.unread_bodies, after=last, limit=BODIES_AT_ONCE)):
        last = found[-1][0]
        event_ids = [event_id for event_id, body in found if company_of(zlib.decompress(body)) == company_id]
        removed += pool.run(partial(erasing.delete_events_by_id, event_ids=event_ids))
    return removed


def _delete_tenant_rows(pool: Pool, tenant_id: int, advance: Advance) -> None:
    for table in pool.run(erasing.tenant_tables):
        delete = partial(erasing.delete_rows, table=table, tenant_id=tenant_id, limit=ROWS_AT_ONCE)
        while deleted := pool.run(delete):
            advance(deleted)
