"""The body of a notification: complete, within its limit, and always as its schema says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.host.body import MAX_BYTES, build, is_download_signature, sign_download
from shared.host.notification import TYPES, ActionOutcome, Include
from tests.unit.host.builders import LINKS, checked, event, file, notification, recipient, webhook


def message_of(**facts: Any) -> dict[str, Any]:
    """Build the body of a message with these facts of its event, and return its data."""
    document: dict[str, Any] = checked(build(notification(event=event(**facts)), links=LINKS))["data"]
    return document


def test_the_body_of_a_message_has_all_that_is_known() -> None:
    facts = notification(
        event=event(files=[file()], action=ActionOutcome(kind="archive", state="planned", reason="the tenant's policy"))
    )
    document = checked(build(facts, links=LINKS))
    assert document == {
        "type": "message.received",
        "timestamp": "2026-11-30T04:01:43.120Z",
        "id": "msg_00000000000000000000000000000001",
        "position": "f3k9.000000184233",
        "schema": "https://mail.acme.example/api/schemas/message.received/1.json",
        "data": {
            "tenant": {"id": 7, "customer": "4711", "name": "Acme"},
            "front": {
                "event_id": "evt_1",
                "conversation_id": "cnv_1",
                "message_id": "msg_1",
                "conversation_url": "https://app.frontapp.com/open/cnv_1",
                "company_id": "cmp_1",
                "inbox_ids": ["inb_1"],
            },
            "message": {
                "internet_message_id": None,
                "in_reply_to": None,
                "subject": "Staircase for Quay 4",
                "sent_at": "2026-08-11T09:20:00.500Z",
                "received_at": "2026-11-30T04:01:43.120Z",
                "emitted_at": "2026-11-30T04:01:43.120Z",
                "direction": "inbound",
                "channel": "email",
                "is_draft": False,
                "from": {"address": "ines@ferry-cafe.example", "name": "Ines Prado"},
                "reply_to": [],
                "recipients": [
                    {
                        "role": "from",
                        "address": "ines@ferry-cafe.example",
                        "as_given": "ines@ferry-cafe.example",
                        "name": "Ines Prado",
                        "user": None,
                        "reason": "because",
                    },
                    {
                        "role": "to",
                        "address": "nora@acme.example",
                        "as_given": "nora@acme.example",
                        "name": None,
                        "user": {"id": "17", "name": "User 17"},
                        "reason": "because",
                    },
                ],
                "text": "Please call.",
                "html": None,
                "omitted": [
                    {
                        "field": "html",
                        "reason": "not_asked_for",
                        "bytes": 19,
                        "url": "https://mail.acme.example/api/v1/messages/msg_00000000000000000000000000000001/html",
                    }
                ],
            },
            "users": ["17"],
            "attachments": [
                {
                    "id": "fil_1",
                    "filename": "po.pdf",
                    "state": "stored",
                    "size": 84_213,
                    "sha256": "ab" * 32,
                    "content_type": "application/pdf",
                    "inline": False,
                    "url": "https://mail.acme.example/api/v1/attachments/1/content",
                    "download_url": LINKS.download(1),
                    "download_expires_at": "2026-08-11T09:20:00.000Z",
                }
            ],
            "action": {
                "kind": "archive",
                "state": "planned",
                "reason": "the tenant's policy",
                "waits_for_you": False,
            },
            "links": {
                "self": "https://mail.acme.example/api/v1/messages/msg_00000000000000000000000000000001",
                "timeline": "https://mail.acme.example/events/7",
            },
        },
    }


@pytest.mark.parametrize(
    ("include", "text", "html", "omitted"),
    [("text", True, False, ["html"]), ("html", True, True, []), ("none", False, False, ["html", "text"])],
)
def test_a_reader_gets_the_parts_that_it_asks_for(include: Include, text: bool, html: bool, omitted: list[str]) -> None:
    message = checked(build(notification(), links=LINKS, include=include))["data"]["message"]
    assert (message["text"] is not None, message["html"] is not None) == (text, html)
    assert [each["field"] for each in message["omitted"]] == omitted


def test_the_direction_of_a_sent_message_is_outbound() -> None:
    assert message_of(type="outbound_sent")["message"]["direction"] == "outbound"


@pytest.mark.parametrize("state", ["waiting", "failed", "discarded"])
def test_a_file_that_is_not_stored_has_no_address_to_read_it_from(state: str) -> None:
    [found] = message_of(files=[file(state=state)])["attachments"]
    assert (found["state"], found["download_url"], found["download_expires_at"]) == (state, None, None)


def test_parts_that_front_did_not_send_are_named() -> None:
    message = message_of(body=webhook(text=None, body=None))["message"]
    assert [(each["field"], each["reason"]) for each in message["omitted"]] == [
        ("html", "not_sent_by_front"),
        ("text", "not_sent_by_front"),
    ]


def test_content_that_was_deleted_is_named() -> None:
    facts = {"body": None, "files": [file(is_kept=False)]}
    found = message_of(**facts)
    assert {each["reason"] for each in found["message"]["omitted"]} == {"no_longer_kept"}
    assert (found["attachments"][0]["state"], found["attachments"][0]["download_url"]) == ("stored", None)


def test_a_message_that_was_fetched_is_whole() -> None:
    preview = json.dumps({"payload": {"target": {"data": {"id": "msg_1"}}}}).encode()
    fetched = json.dumps(json.loads(webhook())["payload"]["target"]["data"]).encode()
    message = message_of(body=preview, fetched=fetched)["message"]
    assert (message["subject"], message["text"]) == ("Staircase for Quay 4", "Please call.")


@pytest.mark.parametrize("body", [None, b"", b"no JSON", b"[]", b'{"payload": []}', b'{"payload": {"target": 3}}'])
def test_a_body_that_cannot_be_read_leaves_the_text_out(body: bytes | None) -> None:
    assert message_of(body=body)["message"]["text"] is None


def test_the_headers_of_the_mail_are_told_where_front_tells_them() -> None:
    headers = {"Message-ID": "<a@x.example>", "in_reply_to": "<b@x.example>"}
    message = message_of(body=webhook(metadata={"headers": headers}))["message"]
    assert (message["internet_message_id"], message["in_reply_to"]) == ("<a@x.example>", "<b@x.example>")


@pytest.mark.parametrize(
    ("facts", "data"),
    [
        ({"notification_type": "tenant.paused", "event": None}, {}),
        ({"notification_type": "ping", "event": None, "tenant": None}, {}),
        ({"notification_type": "endpoint.held", "event": None, "facts": {"name": "crm"}}, {"name": "crm"}),
    ],
)
def test_a_notification_without_an_event_has_its_own_facts(facts: dict[str, Any], data: dict[str, Any]) -> None:
    document = checked(build(notification(**facts), links=LINKS))
    assert document["data"] | data == document["data"]


def test_the_notification_of_a_file_has_that_file() -> None:
    facts = notification("attachment.stored", event=event(files=[file(1), file(2)]), attachment_id=2)
    assert checked(build(facts, links=LINKS))["data"]["attachment"]["id"] == "fil_2"


def test_the_notification_of_an_action_has_what_was_done() -> None:
    done = {"kind": "archive", "state": "confirmed", "reason": "applied"}
    facts = notification("conversation.action_applied", facts=done)
    assert checked(build(facts, links=LINKS))["data"]["action"] == done


# Sizes


def omitted_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["field"]: each for each in document["data"]["message"]["omitted"]}


def test_a_large_html_is_left_out_before_the_text() -> None:
    facts = notification(event=event(body=webhook(body="é" * 200_000, text="short")))
    body = build(facts, links=LINKS, include="html")
    message = checked(body)["data"]["message"]
    assert len(body) <= MAX_BYTES
    assert (message["text"], message["html"]) == ("short", None)
    assert message["omitted"] == [
        {"field": "html", "reason": "too_large", "bytes": 400_000, "url": LINKS.message(facts, "html")}
    ]


def test_what_is_left_out_is_in_the_whole_document() -> None:
    facts = notification(event=event(body=webhook(text="x" * 300_000)))
    assert omitted_of(checked(build(facts, links=LINKS)))["text"]["bytes"] == 300_000
    whole = checked(build(facts, links=LINKS, max_bytes=None))
    assert len(whole["data"]["message"]["text"]) == 300_000


def test_of_many_recipients_those_with_a_user_are_kept() -> None:
    crowd = [recipient(f"{'x' * 900}{number}@y.example") for number in range(1_000)]
    facts = notification(event=event(recipients=[*crowd, recipient("nora@acme.example", "bcc", user="17")]))
    body = build(facts, links=LINKS)
    document = checked(body)
    kept = document["data"]["message"]["recipients"]
    assert len(body) <= MAX_BYTES
    assert kept[-1]["user"]["id"] == "17"
    assert 1 < len(kept) < 1_001
    cut = omitted_of(document)["recipients"]
    assert (cut["count"], cut["kept"], cut["url"]) == (1_001, len(kept), LINKS.message(facts))


def test_a_long_subject_is_cut_and_named() -> None:
    document = checked(build(notification(event=event(body=webhook(subject="s" * 5_000))), links=LINKS))
    assert len(document["data"]["message"]["subject"]) == 1_000
    assert (omitted_of(document)["subject"]["count"], omitted_of(document)["subject"]["kept"]) == (5_000, 1_000)


odd_text = st.text(st.characters(), max_size=20).map(lambda text: text * 400)


@settings(max_examples=60, deadline=None)
@given(
    text=odd_text | st.none(),
    html=odd_text | st.none(),
    subject=odd_text | st.none() | st.integers(),
    handles=st.lists(st.text(max_size=900), max_size=1_200),
    names=st.lists(st.text(max_size=900), max_size=300),
    include=st.sampled_from(("text", "html", "none")),
    max_bytes=st.sampled_from((64 * 1024, MAX_BYTES)),
)
def test_a_body_never_exceeds_its_limit_and_names_what_it_leaves_out(
    text: Any, html: Any, subject: Any, handles: list[str], names: list[str], include: Include, max_bytes: int
) -> None:
    people = [recipient(handle, user=str(place) if place % 3 else None) for place, handle in enumerate(handles)]
    files = [file(place, filename=name) for place, name in enumerate(names)]
    body = webhook(text=text, body=html, subject=subject)
    facts = notification(event=event(body=body, recipients=people, files=files))
    built = build(facts, links=LINKS, include=include, max_bytes=max_bytes)
    document = checked(built)
    left_out = omitted_of(document)
    assert len(built) <= max_bytes
    for field in ("text", "html"):
        assert (document["data"]["message"][field] is None) == (field in left_out)
    for field, holder, whole in (
        ("recipients", document["data"]["message"], people),
        ("attachments", document["data"], files),
    ):
        cut = left_out.get(field, {"count": len(whole), "kept": len(whole)})
        assert (cut["count"], cut["kept"]) == (len(whole), len(holder[field]))


# Links


def test_a_signature_is_good_for_one_file_until_one_time() -> None:
    key, signature = b"key", sign_download(b"key", 1, 1_000)
    assert is_download_signature(key, 1, 1_000, signature)
    assert not is_download_signature(key, 2, 1_000, signature)
    assert not is_download_signature(key, 1, 1_001, signature)
    assert not is_download_signature(b"another", 1, 1_000, signature)
    assert not is_download_signature(key, 1, 1_000, "é\udc80")


def test_every_type_has_a_schema() -> None:
    from tests.unit.host.builders import DOCUMENT

    assert set(DOCUMENT["webhooks"]) == set(TYPES)
