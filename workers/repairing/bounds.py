"""Decides which part of Front's event list a repair compares, and which of its events count: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.front.envelope import API_NAMES, ListedEvent, application_name

#: Front does not document how soon it lists an event, nor whether its time bounds are inclusive.
OVERLAP = timedelta(minutes=10)
#: A webhook may still be on its way, or be tried again: a younger event is no gap.
WEBHOOK_DELAY = timedelta(minutes=2)
#: The part of the retention time that is compared. Rows go on expiring while a repair takes hours.
RETAINED_SHARE = 0.9
#: A query with more inboxes has a URL that servers refuse.
MAX_INBOXES = 200


@dataclass(frozen=True, kw_only=True)
class Span:
    """The time to compare; empty when both ends are the same."""

    since: datetime
    until: datetime


def span_to_compare(
    *,
    requested_since: datetime | None,
    repaired_until: datetime | None,
    connected_at: datetime,
    kept_days: int,
    now: datetime,
) -> Span:
    """Return the time to compare: from `requested_since` if given, else from the end of the last repair.

    It never begins before the tenant connected, nor earlier than our rows are kept (0 days: for ever).
    """
    since = requested_since or (repaired_until - OVERLAP if repaired_until else connected_at)
    kept_since = now - RETAINED_SHARE * timedelta(days=kept_days) if kept_days else connected_at
    since = max(since, connected_at, kept_since)
    return Span(since=since, until=max(since, now - WEBHOOK_DELAY))


def api_types(seen_types: Iterable[str]) -> list[str]:
    """Return the event list's names for the types that came by webhook. Front sends this app no webhooks of others."""
    return sorted({api_name for event_type in seen_types for api_name in API_NAMES.get(event_type, ())})


def inboxes_to_query(shared_ids: Collection[str]) -> list[str]:
    """Return the inboxes to filter Front's list by. With too many there is no filter, and each event must name one."""
    return sorted(shared_ids) if len(shared_ids) <= MAX_INBOXES else []


def expected_events(
    listed: Iterable[ListedEvent], *, span: Span, types: Collection[str], shared_ids: Collection[str]
) -> list[ListedEvent]:
    """Return the listed events that a webhook should have brought. `types` are the event list's names."""
    names = {application_name(each) for each in types}
    return [
        event
        for event in listed
        if event.type in names and event.emitted_at >= span.since and _is_shared(event, shared_ids)
    ]


def _is_shared(event: ListedEvent, shared_ids: Collection[str]) -> bool:
    """Whether the event is of a shared inbox, since webhooks report no others.

    Most types of events name no inbox. For those the filter of the query must do.
    """
    if event.is_private:
        return False
    if event.inbox_ids:
        return not event.inbox_ids.isdisjoint(shared_ids)
    return len(shared_ids) <= MAX_INBOXES
