"""One slice of a repair: claimed, done with what Front's budget has to spare, and put back with a time to go on."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import NAMESPACE_URL, uuid5

import structlog

from shared import failpoints
from shared.connection.client import TenantConnection
from shared.db import repairs
from shared.db.core.pool import Connection
from shared.db.recording import spool, statements
from shared.db.repairs import Progress, Repair
from shared.db.tasks import rescue
from shared.errors import Fenced, FrontRejected, GivesWay, MissingScope, NeedsReconnect, StoreUnavailable
from shared.front.client import TenantClient
from shared.front.envelope import ListedEvent, parse_listed_event
from shared.models import Delivery, EventPage
from workers.attempts.outage import SCOPE_PROBE_SECONDS
from workers.attempts.retries import Decision, GiveBack, Park, Retry, decide
from workers.attempts.run import describe_failure, log_level_of
from workers.repairing.bounds import Span, api_types, queried, sift, span_of
from workers.resources import Resources

#: Between two slices, the second of which would find the same.
PAUSE_SECONDS = 5.0
#: A permission that is missing is added by a person, who can ask for a repair then.
SCOPE_AGAIN_SECONDS = 86_400.0
log = structlog.get_logger()

#: A slice says nothing for as long as one call of Front may take, and PostgreSQL after it.
CLAIM_SECONDS = 60.0

#: Of the minute's window, for live work: a repair asks only while more than this is free.
RESERVED_SHARE = 0.5
SLICE_SECONDS = 20.0
#: While deliveries wait for longer than this they look like gaps.
RECORDING_IS_BEHIND_SECONDS = 60.0
#: Front may list an event in the same moment: known ones cost nothing.
STEP_BACK = timedelta(seconds=1)
NO_TYPES = "no webhook was received yet: which events to compare is learned from them"
NO_INBOXES = "the token sees no shared inbox, and webhooks tell of no others"
T = TypeVar("T")


def settle(resources: Resources, repair: Repair, error: BaseException, *, came_on: bool, token_version: int) -> None:
    """Settle a failed slice as `workers.attempts.retries` decides; `came_on`: it compared something. Raises Fenced."""
    if isinstance(error, FrontRejected) and repair.next_page and not came_on:
        resources.pool.run(lambda conn: repairs.forget_page(conn, repair))
        return
    attempt = 1 if came_on else repair.failures + 1
    decision = decide(error, attempt=attempt, jitter=random.random())  # noqa: S311 -- spreads retries
    detail = describe_failure(error)
    log.log(log_level_of(error), "repair_broken_off", repair=repair.id, code=decision.code)

    def write(conn: Connection) -> None:
        if isinstance(error, MissingScope):
            _refused(conn, repair, decision, detail)
        elif isinstance(decision, Park):
            repairs.put_back(conn, repair, seconds=PAUSE_SECONDS, code=decision.code, detail=detail)
            version = token_version
            rescue.park(conn, repair.tenant_id, decision.code, token_version=version, probe_seconds=SCOPE_PROBE_SECONDS)
        else:
            _postpone(conn, repair, decision, error, detail)

    resources.pool.run(write)


def _refused(conn: Connection, repair: Repair, decision: Decision, detail: str) -> None:
    """A permission that only repairs need is no reason to hold the tenant's live work back."""
    repairs.fail(conn, repair, code=decision.code, detail=detail)
    repairs.look_again(conn, repair.tenant_id, seconds=SCOPE_AGAIN_SECONDS)


def _postpone(conn: Connection, repair: Repair, decision: Decision, error: BaseException, detail: str) -> None:
    match decision:
        case Retry():
            repairs.try_again(conn, repair, seconds=decision.delay, code=decision.code, detail=detail)
        case GiveBack():
            seconds = decision.delay if isinstance(error, GivesWay) else max(decision.delay, PAUSE_SECONDS)
            repairs.put_back(conn, repair, seconds=seconds, code=decision.code, detail=detail)
        case _:
            repairs.fail(conn, repair, code=decision.code, detail=detail)


@dataclass(frozen=True, kw_only=True)
class Page:
    """The events that count, what was listed besides, and where the list goes on."""

    number: int
    events: Sequence[ListedEvent]
    reached: datetime | None
    following: str | None


def write_page(conn: Connection, repair: Repair, page: Page) -> int:
    """Move the repair past this page, with what is missing fed in the same transaction; how many are. Raises Fenced."""
    events = {(repair.company_id, each.front_id): each for each in page.events}
    known = statements.known_events(conn, events)
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


def _delivery(repair: Repair, event: ListedEvent) -> Delivery:
    """The same id whenever this repair comes upon this event: fed once."""
    delivery_id = uuid5(NAMESPACE_URL, f"repair:{repair.id}:{event.front_id}").hex
    return Delivery(id=delivery_id, received_at=datetime.now(UTC), body=event.body)


def _by_hour(events: Sequence[ListedEvent], missing: Sequence[ListedEvent]) -> dict[str, tuple[int, int]]:
    seen, gaps = Counter(map(_hour, events)), Counter(map(_hour, missing))
    return {hour: (count, gaps[hour]) for hour, count in seen.items()}


def _hour(event: ListedEvent) -> str:
    return event.emitted_at.astimezone(UTC).strftime("%Y-%m-%dT%H:00Z")


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
        self._connection = TenantConnection(resources, repair.tenant_id, reserved_share=RESERVED_SHARE)
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
            settle(self._resources, self._repair, exc, came_on=came_on, token_version=self._connection.token_version)
        else:
            self._write(lambda conn: repairs.finish(conn, self._repair, detail=detail))
            log.info("repaired", repair=self._repair.id, tenant=self._repair.tenant_id, pages=self._pages)

    def _compare(self) -> str | None:
        """Compare all pages that are left; why there was nothing to compare, if so."""
        self._give_way()
        span = self._span()
        types = api_types(self._write(statements.seen_types))
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
            found = [event for each in listed.events if (event := parse_listed_event(each, self._repair.company_id))]
            reached = min(max((event.emitted_at for event in found), default=position), span.until)
            counted = sift(found, span=span, types=types, shared=shared)
            following = listed.next_path
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
            return question(self._connection.front())
        except NeedsReconnect:
            if not self._connection.renew():
                raise
            return question(self._connection.front())

    def _write(self, work: Callable[[Connection], T]) -> T:
        return self._resources.pool.run(work)


def _first_page(front: TenantClient, *, types: list[str], after: datetime, span: Span, inboxes: list[str]) -> EventPage:
    return front.events(types=types, after=after - STEP_BACK, before=span.until, inboxes=inboxes)


def _next_page(front: TenantClient, *, path: str) -> EventPage:
    return front.more_events(path)
