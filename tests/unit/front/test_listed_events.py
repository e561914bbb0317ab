"""An event of Front's list is read like the webhook that should have brought it."""

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
        (source({"id": "inb_1"}), {"inb_1"}),  # a single one, not in a list
        (source([{"id": 7}, None, {}]), set()),
        (source([{"id": "inb_1"}], kind="teammate"), set()),
        (source(None), set()),
        ({**SMALL, "source": None}, set()),
        (SMALL, set()),
    ],
)
def test_the_inboxes_an_event_names_itself(event: dict[str, Any], inboxes: set[str]) -> None:
    listed = parse_listed_event(event, "cmp_1")
    assert listed is not None
    assert listed.inbox_ids == inboxes


@pytest.mark.parametrize(
    ("conversation", "private"),
    [({"is_private": True}, True), ({"is_private": False}, False), ({}, False), (None, False), ("cnv_1", False)],
)
def test_whether_the_conversation_is_private(conversation: Any, private: bool) -> None:
    listed = parse_listed_event({**SMALL, "conversation": conversation}, "cmp_1")
    assert listed is not None
    assert listed.is_private is private


@pytest.mark.parametrize(
    "event",
    [
        {},
        {**SMALL, "id": None},  # it could not be told from others
        {**SMALL, "emitted_at": None},  # it could not be placed: it may be older than the tenant
        {**SMALL, "type": 7},
    ],
)
def test_what_cannot_be_told_apart_or_placed_is_left_out(event: dict[str, Any]) -> None:
    assert parse_listed_event(event, "cmp_1") is None


def test_text_that_is_no_text_passes() -> None:
    listed = parse_listed_event({**SMALL, "subject": "\ud800 \x00"}, "cmp_1")
    assert listed is not None
    assert parse_envelope(listed.body).front_id == "evt_1"
