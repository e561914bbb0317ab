"""An event of Front's list is read like the webhook that should have delivered it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.front.envelope import parse_envelope, parse_listed_event

SMALL: dict[str, Any] = {"id": "evt_1", "type": "inbound", "emitted_at": 1786440070.93}


def source(data: Any, kind: str = "inboxes") -> dict[str, Any]:
    return {**SMALL, "source": {"_meta": {"type": kind}, "data": data}}


def test_fronts_own_events_become_webhook_bodies(front_answer: Callable[[str], Any]) -> None:
    for event in front_answer("events_page")["_results"]:
        listed = parse_listed_event(event, "cmp_4k2p9")
        assert listed is not None
        envelope = parse_envelope(listed.body)
        assert (envelope.company_id, envelope.front_id) == ("cmp_4k2p9", event["id"])
        assert (envelope.type, envelope.emitted_at) == (listed.type, listed.emitted_at)
        assert json.loads(listed.body)["payload"] == event


@pytest.mark.parametrize(
    ("event", "inboxes"),
    [
        (source([{"id": "inb_1"}, {"id": "inb_2"}]), {"inb_1", "inb_2"}),
        (source({"id": "inb_1"}), {"inb_1"}),  # a single inbox without a list
        (source([{"id": 7}, None, {}]), set()),
        (source([{"id": "inb_1"}], kind="teammate"), set()),
        (source(None), set()),
        ({**SMALL, "source": None}, set()),
        (SMALL, set()),
    ],
)
def test_the_inboxes_of_an_event_are_read(event: dict[str, Any], inboxes: set[str]) -> None:
    listed = parse_listed_event(event, "cmp_1")
    assert listed is not None
    assert listed.inbox_ids == inboxes


@pytest.mark.parametrize(
    ("conversation", "private"),
    [({"is_private": True}, True), ({"is_private": False}, False), ({}, False), (None, False), ("cnv_1", False)],
)
def test_a_private_conversation_is_marked(conversation: Any, private: bool) -> None:
    listed = parse_listed_event({**SMALL, "conversation": conversation}, "cmp_1")
    assert listed is not None
    assert listed.is_private is private


@pytest.mark.parametrize(
    "event",
    [
        {},
        {**SMALL, "id": None},  # it cannot be distinguished from others
        {**SMALL, "emitted_at": None},  # it may be older than the tenant's connection
        {**SMALL, "type": 7},
    ],
)
def test_an_event_without_id_time_or_type_is_left_out(event: dict[str, Any]) -> None:
    assert parse_listed_event(event, "cmp_1") is None


def test_an_event_with_invalid_text_is_read() -> None:
    listed = parse_listed_event({**SMALL, "subject": "\ud800 \x00"}, "cmp_1")
    assert listed is not None
    assert parse_envelope(listed.body).front_id == "evt_1"
