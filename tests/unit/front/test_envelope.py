"""What is read of an envelope, what may be left out, and what makes it malformed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.errors import FrontRejected, MalformedEnvelope
from shared.front.envelope import (
    API_NAMES,
    application_name,
    company_of,
    front_id,
    is_known,
    parse_envelope,
    parse_time,
)
from shared.models import Envelope

COMPANY = {"id": "cmp_4k2p9"}


def read(**fields: Any) -> Envelope:
    return parse_envelope(json.dumps({"type": "inbound_received", "authorization": COMPANY, **fields}).encode())


def read_event(**fields: Any) -> Envelope:
    return read(payload=fields)


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("inbound", "inbound_received"),
        ("outbound", "outbound_sent"),
        # Front's own name for a reply
        ("out_reply", "outbound_sent"),
        ("archive", "conversation_archived"),
        ("reopen", "conversation_reopened"),
        ("trash", "conversation_deleted"),
        ("restore", "conversation_restored"),
        ("reminder", "conversation_snooze_expired"),
        ("move", "conversation_moved"),
        ("comment", "new_comment_added"),
        ("assign", "assignee_changed"),
        ("unassign", "assignee_changed"),
        ("tag", "tag_added"),
        ("untag", "tag_removed"),
        # Named alike in both vocabularies
        ("link_added", "link_added"),
        ("link_removed", "link_removed"),
        ("sending_error", "message_delivery_failed"),
        ("message_bounce_error", "message_delivery_failed"),
    ],
)
def test_a_short_name_of_the_api_is_the_application_event(short: str, name: str) -> None:
    assert read(type=short).type == name


@pytest.mark.parametrize("name", sorted(API_NAMES))
def test_an_application_event_is_known_by_its_name(name: str) -> None:
    assert is_known(read(type=name).type)


def test_front_documents_sixteen_application_events() -> None:
    assert len(API_NAMES) == 16


@pytest.mark.parametrize(
    "name",
    [
        # API events that no application webhook exists for
        "mention",
        "conversations_merged",
        "call_started",
        # A name of neither list that a published client uses
        "conversation_trashed",
        # Front's validation request
        "sync",
        "",
        # Case counts
        "Inbound_Received",
    ],
)
def test_any_other_type_stays_as_it_is_and_is_unknown(name: str) -> None:
    assert (application_name(name), is_known(name)) == (name, False)


def test_without_a_type_the_events_own_counts() -> None:
    assert parse_envelope(b'{"authorization": {"id": "cmp_1"}, "payload": {"type": "trash"}}').type == (
        "conversation_deleted"
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no JSON"),
        (b"null", "no JSON object"),
        (b"[]", "no JSON object"),
        (b'"inbound_received"', "no JSON object"),
        (b"{}", "no JSON object"),
        (b'{"type": "sync"', "no JSON"),
        # A rule webhook: the bare event, without the company
        (b'{"type": "inbound", "id": "evt_1", "conversation": {"id": "cnv_1"}}', "no company"),
        (b'{"type": "sync", "authorization": null}', "no company"),
        (b'{"type": "sync", "authorization": {"id": null}}', "no company"),
        (b'{"type": "sync", "authorization": {"id": ""}}', "no company"),
        (b'{"type": "sync", "authorization": {"id": 7}}', "no company"),
        # An id ends up in addresses and index entries
        (b'{"type": "sync", "authorization": {"id": "cmp_1/../cmp_2"}}', "no company"),
        (b'{"type": "sync", "authorization": {"id": "cmp_1\\n"}}', "no company"),
        (b'{"type": "sync", "authorization": {"id": "' + b"c" * 101 + b'"}}', "no company"),
        (b'{"authorization": {"id": "cmp_1"}}', "neither type"),
        (b'{"type": "", "authorization": {"id": "cmp_1"}, "payload": {"type": ""}}', "neither type"),
        (b'{"type": ["sync"], "authorization": {"id": "cmp_1"}, "payload": "sync"}', "neither type"),
        # Not what Front's serialiser writes
        (b'{"type": "sync", "authorization": {"id": "cmp_1"}, "payload": {"emitted_at": NaN}}', "no JSON"),
        (b'{"type": "sync", "authorization": {"id": "cmp_1"}, "payload": {"emitted_at": -Infinity}}', "no JSON"),
        # JSON is UTF-8 without a byte order mark
        (b'\xef\xbb\xbf{"type": "sync", "authorization": {"id": "cmp_1"}}', "no JSON"),
        ('{"type": "sync", "authorization": {"id": "cmp_1"}}'.encode("utf-16"), "no JSON"),
        (b'{"type": "s\xffync", "authorization": {"id": "cmp_1"}}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a":' * 100_000, "no JSON"),
        # Longer than Python turns into a number
        (b'{"type": "sync", "authorization": {"id": "cmp_1"}, "n": ' + b"9" * 5_000 + b"}", "no JSON"),
    ],
)
def test_a_body_without_company_or_type_is_malformed(body: bytes, told: str) -> None:
    with pytest.raises(MalformedEnvelope, match=told):
        parse_envelope(body)


def test_of_a_key_given_twice_the_last_counts() -> None:
    body = b'{"type": "sync", "type": "trash", "authorization": {"id": "cmp_1"}, "authorization": {"id": "cmp_2"}}'
    assert (parse_envelope(body).type, parse_envelope(body).company_id) == ("conversation_deleted", "cmp_2")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_758_533_084, 1_758_533_084.0),
        (1_786_440_070.93, 1_786_440_070.93),
        # Milliseconds are told by their size
        (1_786_440_070_930, 1_786_440_070.93),
        (0, 0.0),
        (-0.0, 0.0),
        # The last second that is taken, in both units
        (253_370_764_799, 253_370_764_799.0),
        (253_370_764_799_000, 253_370_764_799.0),
    ],
)
def test_a_time_is_in_seconds_or_milliseconds(value: float, seconds: float) -> None:
    assert parse_time(value) == datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "1786440070",
        [1_786_440_070],
        # Before 1970: no event of Front's
        -1,
        -1_786_440_070_930,
        # The year 9999: past midnight in some zones it is a year that cannot be read back
        253_402_300_799,
        253_370_764_800,
        # Microseconds, and numbers beyond any calendar
        1_786_440_070_930_000,
        1e308,
        10**400,
        -(10**400),
        float("inf"),
        float("-inf"),
        float("nan"),
    ],
)
def test_anything_else_is_no_time(value: object) -> None:
    assert parse_time(value) is None


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({"source": {"_meta": {"type": "api"}, "data": None}}, "api"),
        ({"source": {"_meta": {"type": "inboxes"}, "data": [{"id": "inb_1"}]}}, "inboxes"),
        ({"source": {"_meta": {"type": "rule"}, "data": {"id": "rul_1"}}}, "rule"),
        ({"source": {"_meta": None}}, None),
        ({"source": []}, None),
        ({"source": None}, None),
        ({}, None),
    ],
)
def test_the_source_is_read_whatever_its_data(fields: dict[str, Any], source: str | None) -> None:
    assert read_event(**fields).source == source


@pytest.mark.parametrize("conversation", [None, [], "cnv_1", {}, {"id": None}, {"id": "cnv 1"}])
def test_a_conversation_that_names_none_is_none(conversation: object) -> None:
    assert read_event(conversation=conversation).conversation_id is None


@pytest.mark.parametrize("target", [None, [], {}, {"data": None}, {"data": []}, {"data": {"id": 5}}])
def test_a_message_that_was_left_out_has_unknown_parts(target: object) -> None:
    message = read_event(target=target).message
    assert message is not None
    assert (message.id, message.recipients, message.attachments) == (None, None, None)


@pytest.mark.parametrize(
    ("source", "inboxes"),
    [
        (
            {"_meta": {"type": "inboxes"}, "data": [{"id": "inb_1"}, {"id": "inb_2"}, {"id": "inb_1"}]},
            ("inb_1", "inb_2"),
        ),
        # One inbox without the list around it; the list without the object around it; no type
        ({"_meta": {"type": "inboxes"}, "data": {"id": "inb_1"}}, ("inb_1",)),
        ([{"id": "inb_1"}], ("inb_1",)),
        ({"data": [{"id": "inb_1"}]}, ("inb_1",)),
        # Something else than an inbox
        ({"_meta": {"type": "rule"}, "data": {"id": "rul_1"}}, ()),
        ({"_meta": {"type": "teammate"}, "data": {"id": "tea_1"}}, ()),
        ({"_meta": {"type": "inboxes"}, "data": ["inb_1", None, {"id": 7}, {"name": "Invoices"}]}, ()),
        ({"_meta": {"type": "api"}, "data": None}, ()),
        (None, ()),
        ("inboxes", ()),
    ],
)
def test_the_inboxes_of_an_event_are_read_in_every_shape(source: Any, inboxes: tuple[str, ...]) -> None:
    assert read_event(source=source).inbox_ids == inboxes


@pytest.mark.parametrize(
    ("body", "company"),
    [
        (b'{"type": "sync", "authorization": {"id": "cmp_a"}}', "cmp_a"),
        # No JSON, but it says whose it is
        (
            b'{"type": "inbound_received", "authorization" : {"type":"company", "id":\n"cmp_a"}, "payload": NaN}',
            "cmp_a",
        ),
        (b'{"authorization": {"id": "cmp_a"}', "cmp_a"),
        # What only mentions a company, is nobody's
        (b'{"text": "cmp_a"', None),
        (b'{"authorization": {}, "id": "cmp_a"', None),
        # What can be read is read: an envelope of another's that is quoted counts for nothing
        (
            b'{"text": "\\"authorization\\": {\\"id\\": \\"cmp_b\\"}", "type": "t", "authorization": {"id": "cmp_a"}}',
            "cmp_a",
        ),
        (b"", None),
        (b"\xff\x00" * 10, None),
    ],
)
def test_company_of(body: bytes, company: str | None) -> None:
    assert company_of(body) == company


@pytest.mark.parametrize("value", ["cnv_18r4w2n0", "fil_2m7c1qkw", "msg_A1", "tag_" + "z" * 64])
def test_front_ids_pass(value: str) -> None:
    assert front_id(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "cnv_",
        "cnv_1/../../oauth",  # another path
        "cnv_1?x=1",  # a query
        "cnv_1\n",  # `$` would let the line break through
        "alt:email:nora@acme.example",  # an alias carries an address into a path
        "cnv_١",  # a digit that is not ASCII
        "cnv_" + "z" * 65,
        "CNV_1",
        "https://files.example/fil_1",
    ],
)
def test_anything_else_never_enters_a_path(value: str) -> None:
    with pytest.raises(FrontRejected):
        front_id(value)


def test_the_refusal_does_not_repeat_the_value() -> None:
    with pytest.raises(FrontRejected) as refused:
        front_id("alt:email:nora@acme.example")
    assert "nora" not in str(refused.value)
