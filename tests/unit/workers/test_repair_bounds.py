"""A repair compares a bounded span of Front's list, and only events that a webhook should have delivered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.front.envelope import ListedEvent, application_name
from workers.repairing.bounds import MAX_INBOXES, Span, api_types, expected_events, inboxes_to_query, span_to_compare

NOON = datetime(2026, 8, 11, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("asked", "mark", "connected", "kept_days", "since"),
    [
        (None, None, -600, 0, -600),  # the first one, from the connection
        (None, -30, -600, 0, -40),  # from the mark, with an overlap
        (None, -595, -600, 0, -600),  # the overlap does not reach behind the connection
        (-360, -30, -600, 0, -360),  # as requested, although compared before
        (-3600, -30, -600, 0, -600),  # never before the tenant connected
        (-3000, None, -9000, 1, -1296),  # never where our own rows are deleted, or soon will be
        (None, -3000, -9000, 1, -1296),
        (None, None, -600, 30, -600),
    ],
)
def test_a_repair_begins_at_the_request_the_last_repair_or_the_connection(
    asked: int | None, mark: int | None, connected: int, kept_days: int, since: int
) -> None:
    span = span_to_compare(
        requested_since=None if asked is None else at(asked),
        repaired_until=None if mark is None else at(mark),
        connected_at=at(connected),
        kept_days=kept_days,
        now=NOON,
    )
    assert span == Span(since=at(since), until=at(-2))


@pytest.mark.parametrize("asked", [-1, 60])
def test_a_span_of_the_last_minutes_is_empty(asked: int) -> None:
    span = span_to_compare(requested_since=at(asked), repaired_until=None, connected_at=at(-600), kept_days=0, now=NOON)
    assert span.since == span.until


@pytest.mark.parametrize(
    ("seen", "names"),
    [
        ([], []),
        (["inbound_received"], ["inbound"]),
        (["outbound_sent", "assignee_changed"], ["assign", "out_reply", "outbound", "unassign"]),
        (["conversation_snoozed"], []),  # the list has no such events
        (["something_new"], []),
    ],
)
def test_webhook_types_have_names_in_the_list(seen: list[str], names: list[str]) -> None:
    assert api_types(seen) == names


def _listed(**changed: object) -> ListedEvent:
    usual = {
        "front_id": "evt_1",
        "type": application_name("inbound"),
        "emitted_at": NOON,
        "inbox_ids": frozenset({"inb_1"}),
        "is_private": False,
        "body": b"{}",
    }
    return ListedEvent(**{**usual, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ({}, True),
        ({"emitted_at": at(-59)}, True),
        ({"emitted_at": at(-61)}, False),  # the span is checked here, too
        ({"emitted_at": at(5)}, True),
        ({"type": "tag_added"}, False),  # the type is checked here, too
        ({"inbox_ids": frozenset({"inb_9"})}, False),
        ({"inbox_ids": frozenset({"inb_9", "inb_2"})}, True),  # one shared and one private inbox
        ({"inbox_ids": frozenset()}, True),  # most events name no inbox, and the query selected them
        ({"is_private": True}, False),
    ],
)
def test_only_events_that_a_webhook_should_deliver_are_expected(changed: dict[str, object], counts: bool) -> None:
    found = expected_events(
        [_listed(**changed)],
        span=Span(since=at(-60), until=at(-2)),
        types=["inbound"],
        shared_ids={"inb_1", "inb_2"},
    )
    assert len(found) == counts


def test_with_more_inboxes_than_a_query_holds_each_event_must_name_one() -> None:
    few, many = ({f"inb_{number}" for number in range(count)} for count in (MAX_INBOXES, MAX_INBOXES + 1))
    assert [len(inboxes_to_query(few)), len(inboxes_to_query(many))] == [MAX_INBOXES, 0]
    span = Span(since=at(-60), until=at(-2))
    events = [_listed(), _listed(inbox_ids=frozenset())]
    assert [
        len(expected_events(events, span=span, types=["inbound"], shared_ids=shared)) for shared in (few, many)
    ] == [2, 1]
