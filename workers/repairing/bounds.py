"""Decides which part of Front's event list is compared, and which events count: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.front.envelope import API_NAMES, ListedEvent, application_name

#: Nobody knows how soon Front lists an event, nor whether its bounds are inclusive.
OVERLAP = timedelta(minutes=10)
#: A webhook that is still on its way, or tried again, is no gap.
ON_THEIR_WAY = timedelta(minutes=2)
#: Of the time that rows are kept: they go on being deleted while a repair takes hours.
SURELY_KEPT = 0.9
#: Of inboxes in one query: more make an address that servers refuse.
MOST_INBOXES = 200


@dataclass(frozen=True, kw_only=True)
class Span:
    """From when until when; empty where both are the same."""

    since: datetime
    until: datetime


def span_of(
    *, asked: datetime | None, mark: datetime | None, connected_at: datetime, kept_days: int, now: datetime
) -> Span:
    """What to compare: as asked, else from where the last repair ended.

    Never from before the tenant connected, nor from days of which our own rows are deleted (0: none are).
    """
    since = asked or (mark - OVERLAP if mark else connected_at)
    kept_from = now - SURELY_KEPT * timedelta(days=kept_days) if kept_days else connected_at
    since = max(since, connected_at, kept_from)
    return Span(since=since, until=max(since, now - ON_THEIR_WAY))


def api_types(seen: Iterable[str]) -> list[str]:
    """What Front's list calls the events that came by webhook: of others, Front was never asked to tell us."""
    return sorted({api_name for event_type in seen for api_name in API_NAMES.get(event_type, ())})


def queried(shared: Collection[str]) -> list[str]:
    """The inboxes to ask Front for; none where they are too many, then each event must name one."""
    return sorted(shared) if len(shared) <= MOST_INBOXES else []


def sift(
    listed: Iterable[ListedEvent], *, span: Span, types: Collection[str], shared: Collection[str]
) -> list[ListedEvent]:
    """The events that a webhook should have brought, whatever else Front lists. `types` are the list's names."""
    names = {application_name(each) for each in types}
    return [
        each for each in listed if each.type in names and each.emitted_at >= span.since and _is_shared(each, shared)
    ]


def _is_shared(event: ListedEvent, shared: Collection[str]) -> bool:
    """Webhooks tell of shared inboxes only. Most kinds of events name none: there the query's filter must do."""
    if event.is_private:
        return False
    if event.inbox_ids:
        return not event.inbox_ids.isdisjoint(shared)
    return len(shared) <= MOST_INBOXES
