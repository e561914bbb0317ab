"""What the peers' workers read in a webhook of the small Front."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.peers.terms import FORGOTTEN_SECONDS, TRIES
from bench.peers.wanted import event_id, wanted


def a_webhook(*recipients: dict[str, str]) -> dict[str, Any]:
    message = {"id": "msg_1", "recipients": list(recipients)}
    payload = {"id": "evt_1", "conversation": {"id": "cnv_1"}, "target": {"data": message}}
    return {"type": "inbound_received", "authorization": {"id": "cmp_1"}, "payload": payload}


def test_the_event_its_company_and_its_conversation_are_read() -> None:
    asked = wanted(json.dumps(a_webhook()))
    assert (asked.event_id, asked.company_id, asked.conversation_id) == ("evt_1", "cmp_1", "cnv_1")


@pytest.mark.parametrize(
    ("role", "expected"), [("to", ["a@b.example"]), ("cc", ["a@b.example"]), ("bcc", ["a@b.example"]), ("from", [])]
)
def test_only_who_receives_is_looked_for(role: str, expected: list[str]) -> None:
    assert wanted(json.dumps(a_webhook({"handle": "A@B.example", "role": role}))).addresses == expected


def test_a_webhook_without_a_message_is_refused() -> None:
    with pytest.raises(KeyError):
        wanted('{"type": "sync", "authorization": {"id": "cmp_1"}}')


def test_both_deliveries_of_an_event_have_its_id() -> None:
    assert event_id(json.dumps(a_webhook()).encode()) == "evt_1"


def test_no_pause_is_longer_than_a_dead_worker_is_waited_for() -> None:
    assert 2 ** (TRIES - 2) < FORGOTTEN_SECONDS
