"""Runs one slice of a repair: claims it, compares pages of Front's event list with our rows, puts it back.

A missing event goes into the spool in the transaction that moves the repair past its page. A slice uses only what live
work leaves of Front's budget, and ends as soon as something more urgent waits.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import NAMESPACE_URL, uuid5

import structlog

from shared import failpoints
from shared.connection.budget import Reservation
from shared.connection.client import TenantConnection
from shared.db import repairs
from shared.db.core.pool import Connection
from shared.db.recording import spool, statements
from shared.db.repairs import Progress, Repair
from shared.db.tenants import tenants
from shared.errors import Fenced, FrontRejected, GivesWay, MissingScope, NeedsReconnect, StoreUnavailable
from shared.front.client import TenantClient
from shared.front.envelope import ListedEvent, parse_listed_event
from shared.models import Delivery, EventPage
from workers.attempts.outage import SCOPE_PROBE_SECONDS
from workers.attempts.retries import Decision, GiveBack, Park, Retry, decide
from workers.attempts.run import describe_failure, log_level_of
from workers.repairing.bounds import Span, api_types, expected_events, inboxes_to_query, span_to_compare
from workers.resources import Resources

SLICE_SECONDS = 20.0
#: Of a slice's claim. A slice writes nothing for as long as one call to Front may take, and PostgreSQL after it.
CLAIM_SECONDS = 60.0
#: The share of Front's budget that live work keeps. A repair calls Front only while more than this is free.
RESERVED_SHARE = 0.5
#: The pause after a slice that gave way: the next one would find the same.
PAUSE_SECONDS = 5.0
#: The time without periodic repairs of a tenant whose token lacks a permission. A person adds the permission, and can
#: ask for a repair then.
MISSING_SCOPE_SECONDS = 86_400.0
#: While the oldest delivery waits for longer than this, deliveries that are not recorded yet would look like gaps.
RECORDING_IS_BEHIND_SECONDS = 60.0
#: A new query begins this much earlier, since events of the same moment may be on two pages. Known events cost nothing.
STEP_BACK = timedelta(seconds=1)
NO_TYPES = "no webhook was received yet: which events to compare is learned from them"
NO_INBOXES = "the token sees no shared inbox, and webhooks tell of no others"
T = TypeVar("T")
log = structlog.get_logger()


def run_repair(resources: Resources, repair_id: int) -> None:
    """Run a slice of the repair if it is due and free.

    Never raises: a failure is settled in the repair's row. Without PostgreSQL the repair is left to the sweeper.
    """
    try:
        repair = resources.pool.run(lambda conn: repairs.claim(conn, repair_id, resources.name, seconds=CLAIM_SECONDS))
        if repair:
            _Slice(resources, repair).run()
    except StoreUnavailable as exc:
        log.warning("repair_left_to_the_sweeper", repair_id=repair_id, reason=str(exc))
    except Fenced as exc:
        log.info("repair_ended_meanwhile", repair_id=repair_id, reason=str(exc))


class _Slice:
    def __init__(self, resources: Resources, repair: Repair):
        self._resources = resources
        self._repair = repair
        self._connection = TenantConnection(
            resources, repair.tenant_id, reservation=Reservation(reserved_share=RESERVED_SHARE)
        )
        self._pages = repair.pages
        self._until = time.monotonic() + SLICE_SECONDS

    def run(self) -> None:
        """Compare until the end of the list, or until something more urgent waits."""
        try:
            detail = self._compare()
        except (Fenced, StoreUnavailable):
            raise
        except BaseException as exc:  # noqa: BLE001 -- MemoryError, SystemExit: the repair fails, the worker lives on
            self._settle_failure(exc)
        else:
            self._transaction(lambda conn: repairs.finish(conn, self._repair, detail=detail))
            log.info("repaired", repair_id=self._repair.id, tenant_id=self._repair.tenant_id, pages=self._pages)
        finally:
            self._resources.figures.note_attempt(self._repair.tenant_id, None, self._connection.calls)

    # Comparing

    def _compare(self) -> str | None:
        """Compare all pages that are left; return the reason if there was nothing to compare."""
        self._give_way()
        span = self._span()
        types = api_types(self._transaction(statements.seen_types))
        if span.since == span.until:
            return None
        if not types:
            return NO_TYPES
        shared_ids = {inbox.id for inbox in self._ask(lambda front: front.inboxes()) if not inbox.is_private}
        if not shared_ids:
            return NO_INBOXES
        self._compare_pages(span, types, shared_ids)
        return None

    def _compare_pages(self, span: Span, types: list[str], shared_ids: Collection[str]) -> None:
        position = self._repair.position or span.since
        first = partial(_first_page, types=types, after=position, span=span, inboxes=inboxes_to_query(shared_ids))
        next_path = self._repair.next_page
        while True:
            self._give_way()
            page = self._ask(first if next_path is None else partial(_next_page, path=next_path))
            next_path = page.next_path
            listed = [event for raw in page.events if (event := parse_listed_event(raw, self._repair.company_id))]
            self._record(
                _ComparedPage(
                    number=self._pages,
                    expected=expected_events(listed, span=span, types=types, shared_ids=shared_ids),
                    position=min(max((event.emitted_at for event in listed), default=position), span.until),
                    next_path=next_path,
                )
            )
            if next_path is None:
                return

    def _span(self) -> Span:
        """Return the time to compare. The first slice fixes it for all others."""
        repair = self._repair
        if repair.since and repair.until:
            return Span(since=repair.since, until=repair.until)
        span = span_to_compare(
            requested_since=repair.asked_since,
            repaired_until=repair.repaired_until,
            connected_at=repair.connected_at,
            kept_days=self._resources.settings.retention_events_days,
            now=datetime.now(UTC),
        )
        self._transaction(lambda conn: repairs.set_span(conn, repair, span.since, span.until))
        return span

    def _give_way(self) -> None:
        """Raise GivesWay while something more urgent waits."""
        if self._resources.stop.is_set():
            raise GivesWay("the worker stops")
        if time.monotonic() > self._until:
            raise GivesWay("others have their turn")
        if self._transaction(lambda conn: repairs.has_work_due(conn, self._repair.tenant_id)):
            raise GivesWay("the tenant's own work goes first", retry_after=PAUSE_SECONDS)
        if self._resources.intake.oldest_age_seconds() > RECORDING_IS_BEHIND_SECONDS:
            raise GivesWay("what was received is not recorded yet", retry_after=PAUSE_SECONDS)

    def _record(self, page: _ComparedPage) -> None:
        missing = self._transaction(lambda conn: _record_page(conn, self._repair, page))
        self._pages += 1
        if missing:
            log.warning(
                "gap_found",
                repair_id=self._repair.id,
                tenant_id=self._repair.tenant_id,
                events=missing,
                fed=not self._repair.dry_run,
            )
        failpoints.reach("page_fed_before_next")

    def _ask(self, question: Callable[[TenantClient], T]) -> T:
        """Ask Front; ask again when Front refused a token and there is a newer one."""
        try:
            return question(self._connection.front())
        except NeedsReconnect:
            if not self._connection.renew():
                raise
            return question(self._connection.front())

    def _transaction(self, work: Callable[[Connection], T]) -> T:
        return self._resources.pool.run(work)

    # Failing

    def _settle_failure(self, error: BaseException) -> None:
        """Write down a failed slice as `workers.attempts.retries` decides. Raises Fenced."""
        repair = self._repair
        made_progress = self._pages > repair.pages
        if isinstance(error, FrontRejected) and repair.next_page and not made_progress:
            self._transaction(lambda conn: repairs.forget_page(conn, repair))
            return
        attempt = 1 if made_progress else repair.failures + 1
        decision = decide(error, attempt=attempt, jitter=random.random())  # noqa: S311 -- spreads retries
        log.log(log_level_of(error), "repair_broken_off", repair_id=repair.id, code=decision.code)
        self._transaction(lambda conn: self._write_failure(conn, error, decision))

    def _write_failure(self, conn: Connection, error: BaseException, decision: Decision) -> None:
        repair, reason = self._repair, {"code": decision.code, "detail": describe_failure(error)}
        if isinstance(error, MissingScope):
            # Only repairs need this permission, so the tenant's live work goes on.
            repairs.fail(conn, repair, **reason)
            repairs.postpone_periodic(conn, repair.tenant_id, seconds=MISSING_SCOPE_SECONDS)
            return
        match decision:
            case Park():
                repairs.put_back(conn, repair, seconds=PAUSE_SECONDS, **reason)
                self._park_tenant(conn, decision.code)
            case Retry():
                repairs.retry_later(conn, repair, seconds=decision.delay, **reason)
            case GiveBack():
                seconds = decision.delay if isinstance(error, GivesWay) else max(decision.delay, PAUSE_SECONDS)
                repairs.put_back(conn, repair, seconds=seconds, **reason)
            case _:
                repairs.fail(conn, repair, **reason)

    def _park_tenant(self, conn: Connection, cause: str) -> None:
        version = self._connection.token_version
        tenants.park(conn, self._repair.tenant_id, cause, token_version=version, probe_seconds=SCOPE_PROBE_SECONDS)


@dataclass(frozen=True, kw_only=True)
class _ComparedPage:
    """A page of Front's list: its events that count, the time it reaches to, the next page's path."""

    number: int
    expected: Sequence[ListedEvent]
    position: datetime
    next_path: str | None


def _first_page(front: TenantClient, *, types: list[str], after: datetime, span: Span, inboxes: list[str]) -> EventPage:
    return front.events(types=types, after=after - STEP_BACK, before=span.until, inboxes=inboxes)


def _next_page(front: TenantClient, *, path: str) -> EventPage:
    return front.more_events(path)


def _record_page(conn: Connection, repair: Repair, page: _ComparedPage) -> int:
    """Move the repair past this page, spool its missing events, and return how many they are. Raises Fenced."""
    events = {(repair.company_id, event.front_id): event for event in page.expected}
    known = statements.known_events(conn, events)
    missing = [event for key, event in events.items() if key not in known]
    progress = Progress(
        pages=page.number,
        seen=len(events),
        missing=len(missing),
        hours=_counts_by_hour(list(events.values()), missing),
        position=page.position,
        next_page=page.next_path,
    )
    if repairs.count_page(conn, repair, progress, seconds=CLAIM_SECONDS) and missing and not repair.dry_run:
        spool.add_repaired(conn, [_delivery(repair, event) for event in missing])
    return len(missing)


def _delivery(repair: Repair, event: ListedEvent) -> Delivery:
    """Make a delivery of the event. Its id is the same each time this repair finds the event: it is spooled once."""
    delivery_id = uuid5(NAMESPACE_URL, f"repair:{repair.id}:{event.front_id}").hex
    return Delivery(id=delivery_id, received_at=datetime.now(UTC), body=event.body)


def _counts_by_hour(seen: Sequence[ListedEvent], missing: Sequence[ListedEvent]) -> dict[str, tuple[int, int]]:
    """Count the seen and the missing events of each hour."""
    seen_counts, missing_counts = Counter(map(_hour, seen)), Counter(map(_hour, missing))
    return {hour: (count, missing_counts[hour]) for hour, count in seen_counts.items()}


def _hour(event: ListedEvent) -> str:
    return event.emitted_at.astimezone(UTC).strftime("%Y-%m-%dT%H:00Z")
