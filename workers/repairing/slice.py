"""One slice of a repair: claimed, done with what Front's budget has to spare, and put back with a time to go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from shared import failpoints
from shared.access import Access
from shared.db import repairs, seen_types
from shared.db.pool import Connection
from shared.db.repairs import Repair
from shared.errors import Fenced, GivesWay, NeedsReconnect, StoreUnavailable
from shared.front.client import TenantClient
from shared.front.listed import read_listed
from shared.models import EventPage
from workers.repairing.bounds import Span, api_types, queried, sift, span_of
from workers.repairing.page import CLAIM_SECONDS, Page, write_page
from workers.repairing.settle import PAUSE_SECONDS, settle
from workers.resources import Resources

#: Of the minute's window, for live work: a repair asks only while more than this is free.
LEAVING = 0.5
SLICE_SECONDS = 20.0
#: While deliveries wait for longer than this they look like gaps.
RECORDING_IS_BEHIND_SECONDS = 60.0
#: Front may list an event in the same moment: known ones cost nothing.
STEP_BACK = timedelta(seconds=1)
NO_TYPES = "no webhook was received yet: which events to compare is learned from them"
NO_INBOXES = "the token sees no shared inbox, and webhooks tell of no others"
T = TypeVar("T")
log = structlog.get_logger()


def run_repair(resources: Resources, repair_id: int) -> None:
    """Do a slice of the repair if it is due and free. Never raises: what happens is in its row, or for the sweeper."""
    try:
        repair = resources.pool.run(lambda conn: repairs.claim(conn, repair_id, seconds=CLAIM_SECONDS))
        if repair:
            _Slice(resources, repair).run()
    except StoreUnavailable as exc:
        log.warning("repair_left_to_the_sweeper", repair=repair_id, reason=str(exc))
    except Fenced as exc:
        log.info("repair_ended_meanwhile", repair=repair_id, reason=str(exc))


class _Slice:
    def __init__(self, resources: Resources, repair: Repair):
        self._resources = resources
        self._repair = repair
        self._access = Access(resources, repair.tenant_id, leaving=LEAVING)
        self._pages = repair.pages
        self._until = time.monotonic() + SLICE_SECONDS

    def run(self) -> None:
        """Compare until the end, or until something else goes first."""
        try:
            detail = self._compare()
        except (Fenced, StoreUnavailable):
            raise
        except BaseException as exc:  # noqa: BLE001 -- MemoryError, SystemExit: the repair fails, the worker lives on
            came_on = self._pages > self._repair.pages
            settle(self._resources, self._repair, exc, came_on=came_on, token_version=self._access.token_version)
        else:
            self._write(lambda conn: repairs.finish(conn, self._repair, detail=detail))
            log.info("repaired", repair=self._repair.id, tenant=self._repair.tenant_id, pages=self._pages)

    def _compare(self) -> str | None:
        """Compare all pages that are left; why there was nothing to compare, if so."""
        self._give_way()
        span = self._span()
        types = api_types(self._write(seen_types.every))
        if span.since == span.until:
            return None
        if not types:
            return NO_TYPES
        shared = {inbox.id for inbox in self._ask(lambda front: front.inboxes()) if not inbox.is_private}
        if not shared:
            return NO_INBOXES
        following = self._repair.next_page
        position = self._repair.position or span.since
        first = partial(_first_page, types=types, after=position, span=span, inboxes=queried(shared))
        while True:
            self._give_way()
            listed = self._ask(first if following is None else partial(_next_page, path=following))
            found = [event for each in listed.events if (event := read_listed(each, self._repair.company_id))]
            reached = min(max((event.emitted_at for event in found), default=position), span.until)
            counted = sift(found, span=span, types=types, shared=shared)
            following = listed.following
            self._count(Page(number=self._pages, events=counted, reached=reached, following=following))
            if following is None:
                return None

    def _span(self) -> Span:
        repair = self._repair
        if repair.since and repair.until:
            return Span(since=repair.since, until=repair.until)
        span = span_of(
            asked=repair.asked_since,
            mark=repair.mark,
            connected_at=repair.connected_at,
            kept_days=self._resources.settings.retention_events_days,
            now=datetime.now(UTC),
        )
        self._write(lambda conn: repairs.begin(conn, repair, span.since, span.until))
        return span

    def _give_way(self) -> None:
        """Raise GivesWay while something else goes first."""
        if self._resources.stop.is_set():
            raise GivesWay("the worker stops")
        if time.monotonic() > self._until:
            raise GivesWay("others have their turn")
        if self._write(lambda conn: repairs.has_work_due(conn, self._repair.tenant_id)):
            raise GivesWay("the tenant's own work goes first", retry_after=PAUSE_SECONDS)
        if self._resources.intake.oldest_age_seconds() > RECORDING_IS_BEHIND_SECONDS:
            raise GivesWay("what was received is not recorded yet", retry_after=PAUSE_SECONDS)

    def _count(self, page: Page) -> None:
        missing = self._write(lambda conn: write_page(conn, self._repair, page))
        self._pages += 1
        if missing:
            log.warning("gap_found", tenant=self._repair.tenant_id, events=missing, fed=not self._repair.dry_run)
        failpoints.reach("page_fed_before_next")

    def _ask(self, question: Callable[[TenantClient], T]) -> T:
        """The answer, asked again when Front refused a token and there is a newer one."""
        try:
            return question(self._access.front())
        except NeedsReconnect:
            if not self._access.renew():
                raise
            return question(self._access.front())

    def _write(self, work: Callable[[Connection], T]) -> T:
        return self._resources.pool.run(work)


def _first_page(front: TenantClient, *, types: list[str], after: datetime, span: Span, inboxes: list[str]) -> EventPage:
    return front.events(types=types, after=after - STEP_BACK, before=span.until, inboxes=inboxes)


def _next_page(front: TenantClient, *, path: str) -> EventPage:
    return front.more_events(path)
