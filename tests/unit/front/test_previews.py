"""Each object of an event may come whole, as a preview with its id, or with nothing but a link."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.front.envelope import object_id, parse_envelope, parse_listed_event
from shared.front.objects import parse_conversation, parse_event
from shared.models import Envelope

BASE = "https://acme.api.frontapp.com"


def link(path: str) -> dict[str, Any]:
    return {"_links": {"self": BASE + path}}


def read(event_type: str = "inbound_received", **event: Any) -> Envelope:
    body = {"type": event_type, "authorization": {"id": "cmp_1"}, "payload": {"id": "evt_1", **event}}
    return parse_envelope(json.dumps(body).encode())


@pytest.mark.parametrize(
    "found",
    [
        {"id": "msg_p"},
        {"_meta": {"type": "message"}, "id": "msg_p", **link("/messages/msg_p")},
        {"_meta": {"type": "message"}, **link("/messages/msg_p")},
        {"_meta": {"type": "message"}, **link("/messages/msg_p/?a=b#c")},
        {"_meta": {"type": "message"}, "data": {"id": "msg_p", **link("/messages/msg_x")}},
        {"_meta": {"type": "message"}, "data": link("/messages/msg_p")},
        {"_meta": {"type": "message"}, "data": {}, "id": "msg_p"},
        {"_meta": {"type": "message"}, "data": None, **link("/messages/msg_p")},
        {"id": "with space", **link("/messages/msg_p")},
        {"id": None, **link("/messages/msg_p")},
    ],
)
def test_an_id_is_found_in_the_object_or_in_its_link(found: dict[str, Any]) -> None:
    assert object_id(found, "msg_") == "msg_p"
    assert read(target=found).message.id == "msg_p"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "found",
    [
        None,
        "msg_p",
        [],
        {},
        link("/messages"),
        link("/conversations/cnv_1"),
        link("/messages/msg_p/parent"),
        {"_links": {"self": 7}},
        {"_links": "msg_p"},
        {"_links": {"related": {"self": "/messages/msg_p"}}},
    ],
)
def test_nothing_else_is_an_id(found: Any) -> None:
    assert object_id(found, "msg_") is None


@pytest.mark.parametrize(
    "conversation",
    [
        {"last_message": {"id": "msg_l"}},
        {"last_message": link("/messages/msg_l")},
        {"_links": {"related": {"last_message": BASE + "/messages/msg_l?referer=conversation"}}},
    ],
)
@pytest.mark.parametrize("target", [None, {}, {"_meta": {"type": "message"}}])
def test_an_event_that_names_no_message_is_about_its_conversations_last_one(conversation: Any, target: Any) -> None:
    message = read(conversation=conversation, target=target).message
    assert message is not None
    assert (message.id, message.recipients, message.attachments) == ("msg_l", None, None)


def test_a_named_message_goes_before_the_conversations_last_one() -> None:
    conversation = {"last_message": {"id": "msg_l"}}
    target = {"_meta": {"type": "message"}, **link("/messages/msg_p")}
    assert read(conversation=conversation, target=target).message.id == "msg_p"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("source", "inboxes"),
    [
        ({"_meta": {"type": "inboxes"}, "id": "inb_1", **link("/inboxes/inb_1")}, ("inb_1",)),
        ({"_meta": {"type": "inboxes"}, **link("/inboxes/inb_1")}, ("inb_1",)),
        ({"_meta": {"type": "inboxes"}, "data": [link("/inboxes/inb_1"), {"id": "inb_2"}]}, ("inb_1", "inb_2")),
        ({"_meta": {"type": "inboxes"}, "data": None, "id": "inb_1"}, ("inb_1",)),
        ([link("/inboxes/inb_1")], ("inb_1",)),
        ({"_meta": {"type": "inboxes"}, **link("/conversations/cnv_1/inboxes")}, ()),
        ({"_meta": {"type": "teammate"}, "id": "tea_1", **link("/teammates/tea_1")}, ()),
    ],
)
def test_inboxes_may_be_previews(source: Any, inboxes: tuple[str, ...]) -> None:
    assert read(source=source).inbox_ids == inboxes
    event = {"id": "evt_1", "type": "inbound", "emitted_at": 1_786_440_070, "source": source}
    listed = parse_listed_event(event, "cmp_1")
    assert listed is not None
    assert listed.inbox_ids == (frozenset(inboxes) if isinstance(source, dict) else frozenset())


def test_the_event_and_its_conversation_may_be_links() -> None:
    found = read(id=None, conversation=link("/conversations/cnv_1"), **link("/events/evt_7"))
    assert (found.front_id, found.conversation_id) == ("evt_7", "cnv_1")


def test_answers_of_the_api_may_hold_previews() -> None:
    tag = {"_meta": {"type": "tag"}, **link("/tags/tag_1")}
    event = parse_event({**link("/events/evt_1"), "type": "tag", "target": tag})
    assert event is not None
    assert (event.id, event.target_id) == ("evt_1", "tag_1")
    conversation = parse_conversation({**link("/conversations/cnv_1"), "status": "archived", "tags": [tag]})
    assert conversation is not None
    assert (conversation.id, conversation.tag_ids) == ("cnv_1", {"tag_1"})


@pytest.mark.parametrize(
    "target",
    [
        {"_meta": {"type": "deleted_conversation_ids"}, "data": ["cnv_2", "cnv_3"]},
        {"_meta": {"type": "deleted_conversation_ids"}, "data": {"ids": ["cnv_2", "cnv_3"]}},
        {"_meta": {"type": "deleted_conversation_ids"}, "data": [{"id": "cnv_2"}, link("/conversations/cnv_3")]},
        {"_meta": {"type": "deleted_conversation_ids"}, "data": [f"{BASE}/conversations/cnv_2", "cnv_3", "cnv_2"]},
        {"deleted_conversation_ids": ["cnv_2", "cnv_3"]},
        ["cnv_2", "cnv_3", 7, None, "msg_1"],
    ],
)
def test_a_merge_names_the_conversations_that_are_gone(target: Any) -> None:
    assert read("conversations_merged", target=target).merged_ids == ("cnv_2", "cnv_3")
    assert read("conversation_moved", target=target).merged_ids == ()


@pytest.mark.parametrize("target", [None, 7, "x", {"_meta": {"type": "cnv"}}, {"data": [[[[[["cnv_2"]]]]]]}])
def test_a_merge_may_name_nothing(target: Any) -> None:
    assert read("conversations_merged", target=target).merged_ids == ()
