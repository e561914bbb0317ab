"""The peers check and read webhooks as Mailroom does, so that the comparison is fair."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from bench.harness.webhooks import signed_requests
from bench.peers import webhook as peers
from bench.peers.webhook import TRIES, VISIBILITY_SECONDS, event_id, message_of


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, str, str]:
    monkeypatch.setattr(peers, "KEY", b"key")
    head, body = signed_requests(b"key", 2_400)[0].split(b"\r\n\r\n", 1)
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return body, headers["X-Front-Request-Timestamp"], headers["X-Front-Signature"]


def test_a_signed_webhook_is_accepted(webhook: tuple[bytes, str, str]) -> None:
    assert peers.accepted(*webhook)


def test_a_changed_body_is_refused(webhook: tuple[bytes, str, str]) -> None:
    body, timestamp, signature = webhook
    assert not peers.accepted(body + b" ", timestamp, signature)


@pytest.mark.parametrize("seconds", [1_000, -100])
def test_a_timestamp_outside_the_window_is_refused(
    webhook: tuple[bytes, str, str], seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)
    assert not peers.accepted(*webhook)


def a_webhook(*recipients: dict[str, str]) -> dict[str, Any]:
    message = {"id": "msg_1", "recipients": list(recipients)}
    payload = {"id": "evt_1", "conversation": {"id": "cnv_1"}, "target": {"data": message}}
    return {"type": "inbound_received", "authorization": {"id": "cmp_1"}, "payload": payload}


def test_the_event_its_company_and_its_conversation_are_read() -> None:
    message = message_of(json.dumps(a_webhook()))
    assert (message.event_id, message.company_id, message.conversation_id) == ("evt_1", "cmp_1", "cnv_1")


@pytest.mark.parametrize(
    ("role", "expected"), [("to", ["a@b.example"]), ("cc", ["a@b.example"]), ("bcc", ["a@b.example"]), ("from", [])]
)
def test_only_recipients_are_read(role: str, expected: list[str]) -> None:
    assert message_of(json.dumps(a_webhook({"handle": "A@B.example", "role": role}))).addresses == expected


def test_a_webhook_without_a_message_is_refused() -> None:
    with pytest.raises(KeyError):
        message_of('{"type": "sync", "authorization": {"id": "cmp_1"}}')


def test_both_deliveries_of_an_event_have_its_id() -> None:
    assert event_id(json.dumps(a_webhook()).encode()) == "evt_1"


def test_the_longest_backoff_is_shorter_than_the_visibility_timeout() -> None:
    assert 2 ** (TRIES - 2) < VISIBILITY_SECONDS
