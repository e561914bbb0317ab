"""Every application event in Front's shape, and every way a webhook can be spoilt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.webhooks import sign, webhook_body, webhook_headers

if TYPE_CHECKING:
    from sandbox.serializers import Serializer
    from tests.unit.sandbox.conftest import Play

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
]


@pytest.mark.parametrize(("webhook_type", "event_type", "source", "target", "status"), SHAPES)
def test_an_event_has_fronts_shape(
    webhook_type: str,
    event_type: str,
    source: str,
    target: str | None,
    status: str,
    play: Play,
    serializer: Serializer,
) -> None:
    body = json.loads(webhook_body(serializer, play(webhook_type)))
    payload = body["payload"]
    assert (body["type"], body["authorization"]) == (webhook_type, {"id": "cmp_kettle"})
    assert (payload["type"], payload["source"]["_meta"]["type"]) == (event_type, source)
    # Front leaves the key out where there is no target
    assert payload.get("target", {}).get("_meta", {}).get("type") == target
    assert payload["conversation"]["status"] == status


def test_mail_comes_with_its_recipients_and_files(play: Play, serializer: Serializer) -> None:
    webhook_event = play(
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
def test_a_fault_takes_keys_away(fault: str | None, missing: set[str], play: Play, serializer: Serializer) -> None:
    payload = json.loads(webhook_body(serializer, play(fault=fault), fault))["payload"]
    assert absent(payload) == missing


def test_a_body_that_is_no_json_is_still_bytes(play: Play, serializer: Serializer) -> None:
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(webhook_body(serializer, play(fault="not_json"), "not_json"))


def test_too_large_is_more_than_ten_mebibytes(play: Play, serializer: Serializer) -> None:
    assert len(webhook_body(serializer, play(fault="too_large"), "too_large")) > 10 * 1024 * 1024


def test_a_url_elsewhere_is_on_another_host(play: Play, serializer: Serializer) -> None:
    webhook_event = play(fault="attachment_elsewhere", attachment_count=1)
    [attachment] = serializer.message(webhook_event.message)["attachments"]
    assert attachment["url"] == f"http://elsewhere.example/{attachment['id']}"


def test_hostile_names_survive_the_print(play: Play, serializer: Serializer) -> None:
    webhook_event = play(fault="hostile_filename")
    message = json.loads(webhook_body(serializer, webhook_event))["payload"]["target"]["data"]
    assert "../../etc/passwd" in {each["filename"] for each in message["attachments"]}


NOW = 1786440071456


@pytest.mark.parametrize(
    ("fault", "timestamp"),
    [(None, NOW), ("stale", NOW - 3_600_000), ("future", NOW + 3_600_000), ("seconds_timestamp", NOW // 1000)],
)
def test_a_wrong_time_is_signed_rightly(fault: str | None, timestamp: int) -> None:
    named = webhook_headers("key", b"{}", NOW, fault)
    assert named["X-Front-Request-Timestamp"] == str(timestamp)
    assert named["X-Front-Signature"] == sign("key", str(timestamp), b"{}")


def test_a_bad_signature_is_wrong_and_an_absent_one_absent() -> None:
    right = sign("key", str(NOW), b"{}")
    assert webhook_headers("key", b"{}", NOW, "bad_signature")["X-Front-Signature"] != right
    assert "X-Front-Signature" not in webhook_headers("key", b"{}", NOW, "no_signature")
