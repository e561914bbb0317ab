"""Webhooks have Front's format and documented signature, and each fault damages them as its name says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.webhooks import compact_json, sign, webhook_body, webhook_headers

if TYPE_CHECKING:
    from sandbox.serializers import Serializer
    from tests.unit.sandbox.conftest import MakeEvent

SHAPES = [
    # envelope type, payload type, source, target, status of the conversation afterwards
    ("inbound_received", "inbound", "inboxes", "message", "unassigned"),
    ("outbound_sent", "outbound", "inboxes", "message", "unassigned"),
    ("conversation_archived", "archive", "teammate", None, "archived"),
    ("conversation_reopened", "reopen", "teammate", None, "unassigned"),
    ("conversation_deleted", "trash", "teammate", None, "deleted"),
    ("conversation_restored", "restore", "teammate", None, "unassigned"),
    ("conversation_snoozed", "reminder", "teammate", None, "archived"),
    ("conversation_snooze_expired", "reminder", "reminder", None, "unassigned"),
    ("conversation_moved", "move", "teammate", "inboxes", "unassigned"),
    ("new_comment_added", "comment", "teammate", "comment", "unassigned"),
    ("assignee_changed", "assign", "teammate", "teammate", "assigned"),
    ("tag_added", "tag", "teammate", "tag", "unassigned"),
    ("tag_removed", "untag", "teammate", "tag", "unassigned"),
    ("link_added", "link_added", "teammate", "link", "unassigned"),
    ("link_removed", "link_removed", "teammate", "link", "unassigned"),
    ("message_delivery_failed", "sending_error", "recipient", "message", "unassigned"),
    ("unassign", "unassign", "teammate", None, "unassigned"),
    ("out_reply", "out_reply", "inboxes", "message", "unassigned"),
    ("mention", "mention", "teammate", "comment", "unassigned"),
    ("forward", "forward", "teammate", "message", "unassigned"),
    ("conversations_merged", "conversations_merged", "teammate", "deleted_conversation_ids", "unassigned"),
    ("custom_field_updated", "custom_field_updated", "teammate", "custom_field", "unassigned"),
]


@pytest.mark.parametrize(("webhook_type", "event_type", "source", "target", "status"), SHAPES)
def test_an_event_has_fronts_format(
    webhook_type: str,
    event_type: str,
    source: str,
    target: str | None,
    status: str,
    make_event: MakeEvent,
    serializer: Serializer,
) -> None:
    body = json.loads(webhook_body(serializer, make_event(webhook_type)))
    payload = body["payload"]
    assert (body["type"], body["authorization"]) == (webhook_type, {"id": "cmp_kettle"})
    assert (payload["type"], payload["source"]["_meta"]["type"]) == (event_type, source)
    # Front omits the key when there is no target
    assert payload.get("target", {}).get("_meta", {}).get("type") == target
    assert payload["conversation"]["status"] == status


def test_mail_comes_with_its_recipients_and_files(make_event: MakeEvent, serializer: Serializer) -> None:
    webhook_event = make_event(
        recipients=[{"handle": "Ines.Marlow@kettle.example", "role": "cc", "name": "Ines"}],
        attachments=[{"filename": "März.pdf", "size": 0, "content_type": "application/pdf"}],
    )
    message = json.loads(webhook_body(serializer, webhook_event))["payload"]["target"]["data"]
    assert [each["role"] for each in message["recipients"]] == ["from", "cc"]
    [attachment] = message["attachments"]
    assert attachment == {
        "id": webhook_event.message.attachments[0].id,
        "url": f"http://front.example/download/{attachment['id']}",
        "filename": "März.pdf",
        "content_type": "application/pdf",
        "size": 0,
        "metadata": {"is_inline": False},
    }


def absent(payload: dict[str, Any]) -> set[str]:
    message = payload.get("target", {}).get("data", {})
    return {"recipients", "attachments", "body"} - set(message)


@pytest.mark.parametrize(
    ("fault", "missing"),
    [
        (None, set()),
        ("no_recipients", {"recipients"}),
        ("no_attachments", {"attachments"}),
        ("preview", {"recipients", "attachments", "body"}),
        ("no_target", {"recipients", "attachments", "body"}),
    ],
)
def test_a_fault_removes_keys(
    fault: str | None, missing: set[str], make_event: MakeEvent, serializer: Serializer
) -> None:
    payload = json.loads(webhook_body(serializer, make_event(fault=fault), fault))["payload"]
    assert absent(payload) == missing


def test_the_fault_not_json_cuts_the_body(make_event: MakeEvent, serializer: Serializer) -> None:
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(webhook_body(serializer, make_event(fault="not_json"), "not_json"))


def test_too_large_is_more_than_ten_mebibytes(make_event: MakeEvent, serializer: Serializer) -> None:
    assert len(webhook_body(serializer, make_event(fault="too_large"), "too_large")) > 10 * 1024 * 1024


def test_the_fault_attachment_elsewhere_uses_another_host(make_event: MakeEvent, serializer: Serializer) -> None:
    webhook_event = make_event(fault="attachment_elsewhere", attachment_count=1)
    [attachment] = serializer.message(webhook_event.message)["attachments"]
    assert attachment["url"] == f"http://elsewhere.example/{attachment['id']}"


def test_hostile_filenames_are_sent_unchanged(make_event: MakeEvent, serializer: Serializer) -> None:
    webhook_event = make_event(fault="hostile_filename")
    message = json.loads(webhook_body(serializer, webhook_event))["payload"]["target"]["data"]
    assert "../../etc/passwd" in {each["filename"] for each in message["attachments"]}


NOW = 1786440071456


@pytest.mark.parametrize(
    ("fault", "timestamp"),
    [(None, NOW), ("stale", NOW - 3_600_000), ("future", NOW + 3_600_000), ("seconds_timestamp", NOW // 1000)],
)
def test_a_wrong_timestamp_has_a_valid_signature(fault: str | None, timestamp: int) -> None:
    sent = webhook_headers("key", b"{}", NOW, fault)
    assert sent["X-Front-Request-Timestamp"] == str(timestamp)
    assert sent["X-Front-Signature"] == sign("key", str(timestamp), b"{}")


def test_a_fault_makes_the_signature_wrong_or_absent() -> None:
    right = sign("key", str(NOW), b"{}")
    assert webhook_headers("key", b"{}", NOW, "bad_signature")["X-Front-Signature"] != right
    assert "X-Front-Signature" not in webhook_headers("key", b"{}", NOW, "no_signature")


KEY = "test-app-signing-key-0123456789abcdef"
VECTORS = [
    # timestamp, raw body, signature: computed by hand from Front's documentation
    (
        "1786440000123",
        '{"type":"sync","authorization":{"id":"cmp_4k2p9"}}',
        "I51JbSMZztnGJjxs2OaxX7qwR2RbEokjzaTWzTPKFJ0=",
    ),
    # Text beyond ASCII is not escaped
    (
        "1786440071456",
        (
            '{"type":"inbound_received","authorization":{"id":"cmp_4k2p9"},"payload":{"id":"evt_4rk1x0bw",'
            '"target":{"data":{"subject":"Übersicht März – 100 €"}}}}'
        ),
        "XmP7rPlStHnKnSQoPD5GfF7Gzxfg/QMgc8IRPr/kNzY=",
    ),
    ("1786440000123", "", "qbMc5O+2sA5G6/h6amRkD4KHqiTpCAiDsCjZYENprhQ="),
]
SHARED = Path(__file__).parents[4] / "shared/front/examples/signature_vectors.json"


@pytest.mark.parametrize(("timestamp", "body", "signature"), VECTORS)
def test_the_signature_is_the_documented_one(timestamp: str, body: str, signature: str) -> None:
    assert sign(KEY, timestamp, body.encode()) == signature


@pytest.mark.skipif(not SHARED.exists(), reason="the reference vectors are not on this machine")
def test_every_reference_vector_has_this_signature() -> None:
    reference = json.loads(SHARED.read_text(encoding="utf-8"))["application_webhook"]
    for vector in reference["vectors"]:
        body = vector["raw_body"].encode()
        assert sign(reference["key"], vector["timestamp"], body) == vector["x-front-signature"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        # No spaces, no escapes
        ({"a": [1, "ä€"]}, '{"a":[1,"ä€"]}'),
        # Node writes a whole number without a fraction
        ({"emitted_at": 1786440070.0}, '{"emitted_at":1786440070}'),
        ({"emitted_at": 1786440070.93}, '{"emitted_at":1786440070.93}'),
        # A lone surrogate is escaped because UTF-8 cannot encode it
        ({"name": "\ud800.txt"}, '{"name":"\\ud800.txt"}'),
        ({"name": "a\x00b", "none": None}, '{"name":"a\\u0000b","none":null}'),
    ],
)
def test_json_is_written_as_node_writes_it(value: object, written: str) -> None:
    assert compact_json(value) == written.encode()
