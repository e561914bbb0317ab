"""Bodies of other publishers, captured from Front or written by those who test against it.

What is expected of each is taken from its JSON here, step by step, by the rules of Front's documents. The bodies lie
beside the checkout, where they may: they belong to others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import MalformedEnvelope
from shared.front.envelope import parse_envelope, parse_listed_event, parse_message
from shared.models import Envelope, Message

CAPTURED = Path(__file__).parents[4] / "shared" / "front" / "captured"
if not CAPTURED.is_dir():
    pytest.skip("the captured bodies do not lie beside the project", allow_module_level=True)

BODIES = {path.stem: json.loads(path.read_bytes()) for path in sorted(CAPTURED.glob("*.json"))}
COMPANY = "cmp_7d3fa"
APPLICATION_NAMES = {
    "inbound": "inbound_received",
    "outbound": "outbound_sent",
    "out_reply": "outbound_sent",
    "archive": "conversation_archived",
    "reopen": "conversation_reopened",
    "trash": "conversation_deleted",
    "restore": "conversation_restored",
    "comment": "new_comment_added",
    "assign": "assignee_changed",
    "unassign": "assignee_changed",
    "tag": "tag_added",
    "untag": "tag_removed",
}


def is_envelope(body: dict[str, Any]) -> bool:
    """Tell whether it is a webhook of an application, which wraps the event."""
    return "payload" in body and not is_of_a_channel(body)


def is_of_a_channel(body: dict[str, Any]) -> bool:
    """Tell whether it is a message to a custom channel."""
    return body.get("type") == "message" and "payload" in body


def is_event(body: dict[str, Any]) -> bool:
    """Tell whether it is a bare event, as rule webhooks and the API have it."""
    return str(body.get("id", "")).startswith("evt_")


def is_list(body: dict[str, Any]) -> bool:
    """Tell whether it is an answer with a list of events."""
    return "_results" in body


def is_empty(body: dict[str, Any]) -> bool:
    """Tell whether it carries no event at all."""
    return set(body) <= {"type"}


ENVELOPES = {name: body for name, body in BODIES.items() if is_envelope(body)}
WITH_COMPANY = {name: body for name, body in ENVELOPES.items() if "authorization" in body}
TESTS_OF_THE_DOOR = {name for name, body in BODIES.items() if body.get("type") == "sync"}
MESSAGES = {name: body["payload"] for name, body in BODIES.items() if is_of_a_channel(body)}
EVENTS = {name: body for name, body in BODIES.items() if is_event(body)} | {
    f"{name}-{number}": event
    for name, body in BODIES.items()
    if is_list(body)
    for number, event in enumerate(body["_results"])
}


def raw(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def check_message(read: Message | None, sent: dict[str, Any]) -> None:
    """Compare a message with its JSON."""
    assert read is not None
    assert read.id == sent.get("id")
    if "recipients" in sent:
        expected = [(each["handle"], each["role"]) for each in sent["recipients"]]
        assert [(each.handle, each.role) for each in read.recipients or ()] == expected
    assert (read.recipients is None) is ("recipients" not in sent)
    if "attachments" in sent:
        check_attachments(read, sent["attachments"])
    assert (read.attachments is None) is ("attachments" not in sent)


def check_attachments(read: Message, sent: list[dict[str, Any]]) -> None:
    found = [
        (each.front_id, each.filename, each.content_type, each.declared_size, each.is_inline)
        for each in read.attachments or ()
    ]
    assert found == [
        (
            each["id"] if "id" in each else each["url"].split("/")[-1],
            each["filename"],
            each["content_type"],
            each["size"],
            each.get("metadata", {}).get("is_inline", False),
        )
        for each in sent
    ]


def check_event(read: Envelope, event_type: str, event: dict[str, Any]) -> None:
    """Compare what was read with the event's JSON."""
    source = event.get("source", {})
    assert read.type == APPLICATION_NAMES.get(event_type, event_type)
    assert read.front_id == event.get("id")
    assert read.conversation_id == event.get("conversation", {}).get("id")
    assert read.source == source.get("_meta", {}).get("type")
    inboxes = source["data"] if isinstance(source.get("data"), list) else []
    assert read.inbox_ids == tuple(inbox["id"] for inbox in inboxes)
    moment = read.emitted_at and round(read.emitted_at.timestamp() * 1000)
    assert moment == (round(event["emitted_at"] * 1000) if "emitted_at" in event else None)
    if read.type in {"inbound_received", "outbound_sent"}:
        check_message(read.message, event["target"]["data"])
    else:
        assert read.message is None


def test_every_body_is_of_one_kind() -> None:
    kinds = (is_envelope, is_of_a_channel, is_event, is_list, is_empty)
    unclear = [name for name, body in BODIES.items() if sum(kind(body) for kind in kinds) != 1]
    assert unclear == []


@pytest.mark.parametrize("name", WITH_COMPANY)
def test_a_webhook_of_an_application_is_read_as_it_came(name: str) -> None:
    body = WITH_COMPANY[name]
    read = parse_envelope((CAPTURED / f"{name}.json").read_bytes())
    assert read.company_id == body["authorization"]["id"]
    check_event(read, body["type"], body["payload"])


@pytest.mark.parametrize(
    "name", [name for name in BODIES if name not in WITH_COMPANY and name not in TESTS_OF_THE_DOOR]
)
def test_a_body_that_names_no_company_is_refused(name: str) -> None:
    with pytest.raises(MalformedEnvelope):
        parse_envelope((CAPTURED / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", [name for name in ENVELOPES if name not in WITH_COMPANY])
def test_such_a_body_is_read_with_a_company(name: str) -> None:
    body = ENVELOPES[name]
    read = parse_envelope(raw({**body, "authorization": {"id": COMPANY}}))
    assert read.company_id == COMPANY
    check_event(read, body["type"], body["payload"])


@pytest.mark.parametrize("name", EVENTS)
def test_a_bare_event_is_read_as_one_of_fronts_list(name: str) -> None:
    event = EVENTS[name]
    listed = parse_listed_event(event, COMPANY)
    assert listed is not None
    assert listed.front_id == event["id"]
    assert listed.type == APPLICATION_NAMES.get(event["type"], event["type"])
    assert round(listed.emitted_at.timestamp() * 1000) == round(event["emitted_at"] * 1000)
    assert listed.is_private is event["conversation"].get("is_private", False)
    data = event["source"].get("data")
    assert listed.inbox_ids == {inbox["id"] for inbox in (data if isinstance(data, list) else [])}
    read = parse_envelope(listed.body)
    assert read.company_id == COMPANY
    check_event(read, event["type"], event)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_of_a_channel_is_read(name: str) -> None:
    check_message(parse_message(MESSAGES[name]), MESSAGES[name])
