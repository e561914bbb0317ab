"""The verdict on a host application sees each kind of violation, and nothing where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from bench.faults import host_verdict
from bench.harness.feed_reader import FeedItem
from bench.harness.host_application import HOOK, Request


def place(number: int) -> str:
    """Return a position as notifications have it."""
    return f"epoch.{number:012d}"


def request(number: int, began: float, **parts: Any) -> Request:
    """Return a request that was taken a second after it began, about the message of an event of its own."""
    usual = {
        "path": HOOK,
        "id": f"msg_{number}",
        "type": "message.received",
        "event": f"evt_{number}",
        "conversation": "cnv_1",
        "position": place(number),
        "verified": True,
        "began": began,
        "ended": began + 1,
        "status": 204,
    }
    return Request(**{**usual, **parts})


def item(number: int, **parts: Any) -> FeedItem:
    """Return the same notification in the feed."""
    usual = {"id": f"msg_{number}", "type": "message.received", "event": f"evt_{number}", "position": place(number)}
    return FeedItem(**{**usual, **parts})


def test_only_messages_that_were_taken_count() -> None:
    seen = [request(1, 0), request(2, 0, status=500), request(3, 0, type="conversation.action_applied")]
    assert host_verdict.events_taken(seen) == {"evt_1"}


def test_a_notification_that_was_refused_and_then_taken_did_not_come_again() -> None:
    assert host_verdict.taken_again([request(1, 0, status=0), request(1, 5)]) == 0
    assert host_verdict.taken_again([request(1, 0), request(1, 5)]) == 1


@pytest.mark.parametrize(
    ("requests", "count"),
    [
        ([request(1, 0), request(1, 5)], 0),
        ([request(1, 0), request(1, 5, id="msg_x")], 1),  # the same event
        ([request(1, 0), request(2, 5, id="msg_1")], 1),  # the same id
        # One event has several notifications, each with an id of its own
        ([request(1, 0), request(2, 5, event="evt_1", type="conversation.action_applied")], 0),
    ],
)
def test_an_id_stands_for_one_notification(requests: list[Request], count: int) -> None:
    assert host_verdict.renamed(requests) == count


@pytest.mark.parametrize(
    ("requests", "count"),
    [
        ([request(1, 0), request(2, 2)], 0),
        ([request(2, 0), request(1, 2)], 2),  # the later one first: it was hasty, and the other one late
        ([request(1, 0), request(2, 0.5)], 1),  # before the answer to the first
        ([request(1, 0, status=500), request(2, 2)], 1),  # after an answer that took nothing
        ([request(1, 0, status=500), request(1, 2), request(2, 4)], 0),
        ([request(1, 0), request(2, 2), request(1, 4)], 1),  # again, after a later one
        ([request(2, 0), request(1, 2, conversation="cnv_2")], 0),
        ([request(2, 0), request(1, 2, conversation=None)], 0),
    ],
)
def test_a_conversation_comes_in_order(requests: list[Request], count: int) -> None:
    assert host_verdict.out_of_order(requests) == count


def test_the_feed_names_what_a_host_lacks() -> None:
    feed = [
        item(1),
        item(2),
        item(3, type="attachment.stored"),
        item(4, type="endpoint.held", event=None, endpoint_id=7),
        item(5, type="endpoint.held", event=None, endpoint_id=8),
    ]
    assert host_verdict.untold(feed, [request(1, 0)], endpoint_id=7) == 2
    assert host_verdict.untold(feed, [request(1, 0), request(2, 2), request(5, 4)], endpoint_id=7) == 0


@pytest.mark.parametrize(
    ("feed", "problems"),
    [
        ([item(1), item(2)], []),
        ([item(1)], ["1 events are not in the feed"]),
        ([item(1), item(2), item(3, event="evt_2")], ["1 events are in the feed more than once"]),
        ([item(2), item(1)], ["1 places of the feed are not after the one before"]),
    ],
)
def test_the_feed_has_every_event_once_and_in_order(feed: list[FeedItem], problems: list[str]) -> None:
    assert host_verdict.gaps_in_feed(feed, {"evt_1", "evt_2"}) == problems


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ([], 0),
        ([3.5], 0),
        ([2.5], 1),  # the second host had not taken it yet
        ([3.5, 3.6], 1),  # two changes for one message
    ],
)
def test_a_change_comes_after_the_message_was_taken_by_all_hosts(changes: list[float], count: int) -> None:
    first, second = [request(1, 0)], [request(1, 0, status=500), request(1, 2)]
    assert host_verdict.hasty_changes({"cnv_1": changes}, [first, second]) == count


def test_a_change_for_a_message_that_one_host_never_got_is_hasty() -> None:
    assert host_verdict.hasty_changes({"cnv_1": [9.0]}, [[request(1, 0)], []]) == 1
