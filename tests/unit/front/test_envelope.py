"""An envelope's fields, its company and its ids are read, or the body is malformed."""

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
EVENTS_OF_FRONTS_DOCUMENT = """
assign unassign archive reopen trash restore reminder comment mention inbound outbound out_reply move forward tag untag
sending_error message_bounce_error conversations_merged link_added link_removed custom_field_updated macro_triggered
topic_identified ticket_status_update call_started call_abandoned call_queued call_on_hold call_parked call_resumed
call_connected call_missed call_hangup call_transferred call_transcript_added call_voicemail_transcript_added
"""


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
        # Both vocabularies have the same name
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


def test_every_event_of_fronts_document_is_known_by_a_name() -> None:
    documented = EVENTS_OF_FRONTS_DOCUMENT.split()
    assert len(documented) == 37
    assert [name for name in documented if not is_known(read(type=name).type)] == []
    assert {name for names in API_NAMES.values() for name in names} == set(documented)


@pytest.mark.parametrize(
    ("envelope", "inner", "name"),
    [
        ("conversation_merged", "conversations_merged", "conversations_merged"),
        ("new_mention_added", "mention", "mention"),
        ("message_bounced", "message_bounce_error", "message_delivery_failed"),
        ("mention", "comment", "mention"),
        ("conversation_teleported", "teleport", "conversation_teleported"),
        # A name that Front does not document must lead to no action
        ("message_imported", "inbound", "message_imported"),
    ],
)
def test_the_event_inside_names_a_type_that_the_envelope_does_not(envelope: str, inner: str, name: str) -> None:
    assert read(payload={"type": inner}, type=envelope).type == name


@pytest.mark.parametrize(
    "name",
    [
        # Not Front's
        "call_started_again",
        # A name of neither list that a published client uses
        "conversation_trashed",
        # Front's validation request
        "sync",
        "",
        # Case is significant
        "Inbound_Received",
    ],
)
def test_any_other_type_is_kept_and_unknown(name: str) -> None:
    assert (application_name(name), is_known(name)) == (name, False)


def test_without_a_type_the_type_of_the_event_is_used() -> None:
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
        (b'{"type": "tag", "authorization": null}', "no company"),
        (b'{"type": "tag", "authorization": {"id": null}}', "no company"),
        (b'{"type": "tag", "authorization": {"id": ""}}', "no company"),
        (b'{"type": "tag", "authorization": {"id": 7}}', "no company"),
        # An id ends up in addresses and index entries
        (b'{"type": "tag", "authorization": {"id": "cmp_1/../cmp_2"}}', "no company"),
        (b'{"type": "tag", "authorization": {"id": "cmp_1\\n"}}', "no company"),
        (b'{"type": "tag", "authorization": {"id": "' + b"c" * 101 + b'"}}', "no company"),
        (b'{"authorization": {"id": "cmp_1"}}', "neither type"),
        (b'{"type": "", "authorization": {"id": "cmp_1"}, "payload": {"type": ""}}', "neither type"),
        (b'{"type": ["sync"], "authorization": {"id": "cmp_1"}, "payload": "sync"}', "neither type"),
        # Front's serialiser does not write these
        (b'{"type": "sync", "authorization": {"id": "cmp_1"}, "payload": {"emitted_at": NaN}}', "no JSON"),
        (b'{"type": "sync", "authorization": {"id": "cmp_1"}, "payload": {"emitted_at": -Infinity}}', "no JSON"),
        # JSON is UTF-8 without a byte order mark
        (b'\xef\xbb\xbf{"type": "sync", "authorization": {"id": "cmp_1"}}', "no JSON"),
        ('{"type": "sync", "authorization": {"id": "cmp_1"}}'.encode("utf-16"), "no JSON"),
        (b'{"type": "s\xffync", "authorization": {"id": "cmp_1"}}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a":' * 100_000, "no JSON"),
        # Python refuses to convert a number this long
        (b'{"type": "sync", "authorization": {"id": "cmp_1"}, "n": ' + b"9" * 5_000 + b"}", "no JSON"),
    ],
)
def test_a_body_without_company_or_type_is_malformed(body: bytes, told: str) -> None:
    with pytest.raises(MalformedEnvelope, match=told):
        parse_envelope(body)


def test_the_last_of_two_equal_keys_is_used() -> None:
    body = b'{"type": "sync", "type": "trash", "authorization": {"id": "cmp_1"}, "authorization": {"id": "cmp_2"}}'
    assert (parse_envelope(body).type, parse_envelope(body).company_id) == ("conversation_deleted", "cmp_2")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_758_533_084, 1_758_533_084.0),
        (1_786_440_070.93, 1_786_440_070.93),
        # Milliseconds are recognised by their size
        (1_786_440_070_930, 1_786_440_070.93),
        (0, 0.0),
        (-0.0, 0.0),
        # The last accepted second, in both units
        (253_370_764_799, 253_370_764_799.0),
        (253_370_764_799_000, 253_370_764_799.0),
    ],
)
def test_a_time_is_in_seconds_or_milliseconds(value: float, seconds: float) -> None:
    assert parse_time(value) == datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(
    "value",
    [
        "1786440070.93",
        " 1786440070.930 ",
        "1786440070930",
        "2026-08-11T09:21:10.930Z",
        "2026-08-11T09:21:10.93",
        "2026-08-11 11:21:10.930+02:00",
        "20260811T092110.930Z",
    ],
)
def test_a_time_may_be_text(value: str) -> None:
    assert parse_time(value) == datetime.fromtimestamp(1_786_440_070.93, UTC)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "last Tuesday",
        "",
        "now",
        "NaN",
        "inf",
        "1e9",
        "-1",
        "0x6a7b",
        "1" * 5_000,
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:59",
        "2026-08-11T09:21:70Z",
        [1_786_440_070],
        # Front has no event before 1970
        -1,
        -1_786_440_070_930,
        # At the end of 9999 some time zones are in a year that Python cannot represent
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
def test_any_other_value_is_no_time(value: object) -> None:
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
def test_the_source_is_read_with_any_data(fields: dict[str, Any], source: str | None) -> None:
    assert read_event(**fields).source == source


@pytest.mark.parametrize("conversation", [None, [], "cnv_1", {}, {"id": None}, {"id": "cnv 1"}])
def test_a_conversation_without_an_id_is_none(conversation: object) -> None:
    assert read_event(conversation=conversation).conversation_id is None


@pytest.mark.parametrize("target", [None, [], {}, {"data": None}, {"data": []}, {"data": {"id": 5}}])
def test_an_omitted_message_has_unknown_parts(target: object) -> None:
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
        # One inbox without a list, a list without its object, and no type
        ({"_meta": {"type": "inboxes"}, "data": {"id": "inb_1"}}, ("inb_1",)),
        ([{"id": "inb_1"}], ("inb_1",)),
        ({"data": [{"id": "inb_1"}]}, ("inb_1",)),
        # The source is no inbox
        ({"_meta": {"type": "rule"}, "data": {"id": "rul_1"}}, ()),
        ({"_meta": {"type": "teammate"}, "data": {"id": "tea_1"}}, ()),
        ({"_meta": {"type": "inboxes"}, "data": ["inb_1", None, {"id": 7}, {"name": "Invoices"}]}, ()),
        ({"_meta": {"type": "api"}, "data": None}, ()),
        (None, ()),
        ("inboxes", ()),
    ],
)
def test_the_inboxes_of_an_event_are_read_in_every_form(source: Any, inboxes: tuple[str, ...]) -> None:
    assert read_event(source=source).inbox_ids == inboxes


@pytest.mark.parametrize(
    ("body", "company"),
    [
        (b'{"type": "sync", "authorization": {"id": "cmp_a"}}', "cmp_a"),
        # Invalid JSON that names its company
        (
            b'{"type": "inbound_received", "authorization" : {"type":"company", "id":\n"cmp_a"}, "payload": NaN}',
            "cmp_a",
        ),
        (b'{"authorization": {"id": "cmp_a"}', "cmp_a"),
        # Mentioning a company outside the authorization does not count
        (b'{"text": "cmp_a"', None),
        (b'{"authorization": {}, "id": "cmp_a"', None),
        # Valid JSON is parsed, so a quoted envelope of another company does not count
        (
            b'{"text": "\\"authorization\\": {\\"id\\": \\"cmp_b\\"}", "type": "t", "authorization": {"id": "cmp_a"}}',
            "cmp_a",
        ),
        (b"", None),
        (b"\xff\x00" * 10, None),
    ],
)
def test_the_company_of_a_body_is_found(body: bytes, company: str | None) -> None:
    assert company_of(body) == company


@pytest.mark.parametrize("value", ["cnv_18r4w2n0", "fil_2m7c1qkw", "msg_A1", "tag_" + "z" * 64])
def test_valid_ids_are_accepted(value: str) -> None:
    assert front_id(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "cnv_",
        "cnv_1/../../oauth",  # another path
        "cnv_1?x=1",  # a query
        "cnv_1\n",  # a pattern ending in `$` would accept the line break
        "alt:email:nora@acme.example",  # an alias carries an address into a path
        "cnv_١",  # a digit that is not ASCII
        "cnv_" + "z" * 65,
        "CNV_1",
        "https://files.example/fil_1",
    ],
)
def test_any_other_value_is_refused_as_an_id(value: str) -> None:
    with pytest.raises(FrontRejected):
        front_id(value)


def test_the_refusal_does_not_repeat_the_value() -> None:
    with pytest.raises(FrontRejected) as refused:
        front_id("alt:email:nora@acme.example")
    assert "nora" not in str(refused.value)
