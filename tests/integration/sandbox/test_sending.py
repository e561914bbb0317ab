"""Webhooks over HTTP are signed, retried, duplicated, shuffled and dropped."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.sandbox.conftest import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sandbox.conftest import Client, Door, Start


def is_signed(headers: dict[str, str], body: bytes) -> bool:
    base = headers["x-front-request-timestamp"].encode() + b":" + body
    digest = hmac.new(KEY.encode(), base, hashlib.sha256).digest()
    return headers.get("x-front-signature") == base64.b64encode(digest).decode()


def event_ids(door: Door) -> list[str]:
    return [json.loads(body)["payload"]["id"] for _, body in door.received]


def test_a_webhook_arrives_signed_and_is_reported(client: Client, door: Door) -> None:
    [event] = client.send(attachment_count=2)
    [(headers, body)] = door.received
    assert is_signed(headers, body)
    assert abs(int(headers["x-front-request-timestamp"]) / 1000 - time.time()) < 10
    message = json.loads(body)["payload"]["target"]["data"]
    assert event["status"] == 200
    assert event["acknowledged"]
    assert event["message_id"] == message["id"]
    assert event["attachment_ids"] == [each["id"] for each in message["attachments"]]


def test_the_challenge_is_echoed(client: Client, door: Door) -> None:
    answer = client.control("POST", "/challenge", company="cmp_kettle")
    [(headers, body)] = door.received
    assert is_signed(headers, body)
    assert json.loads(body) == {"type": "sync", "authorization": {"id": "cmp_kettle"}}
    assert answer["echoed"]
    assert json.loads(answer["body"]) == {"challenge": headers["x-front-challenge"]}


@pytest.mark.parametrize(
    ("statuses", "tries", "acknowledged"),
    [([503], 2, True), ([503, 401], 3, True), ([503, 503, 503], 3, False)],
)
def test_front_tries_three_times_and_then_forgets(
    statuses: list[int], tries: int, acknowledged: bool, client: Client, door: Door
) -> None:
    door.statuses = statuses.copy()
    [event] = client.send(expect="archived")
    assert (len(door.received), event["acknowledged"]) == (tries, acknowledged)
    assert len(set(event_ids(door))) == 1
    verdict = client.verdict()
    assert (verdict["sent"], verdict["acknowledged"]) == (1, int(acknowledged))
    assert (verdict["lost"], verdict["unserved"]) == (int(acknowledged), int(not acknowledged))


def test_a_door_where_nobody_listens_is_refused(start: Start) -> None:
    client = start(door="http://127.0.0.1:9/webhooks/front", tries=1)
    [event] = client.send()
    assert (event["status"], event["acknowledged"]) == ("refused", False)


def test_copies_carry_the_same_event(client: Client, door: Door) -> None:
    [event] = client.send(duplicates=4)
    assert event_ids(door) == [event["event_id"]] * 5


def test_shuffled_events_arrive_out_of_order_but_all_of_them(client: Client, door: Door) -> None:
    sent = [event["event_id"] for event in client.send(count=40, shuffle=True, threads=1)]
    assert sorted(event_ids(door)) == sorted(sent)
    assert event_ids(door) != sent


def test_a_rate_spreads_events_over_time(client: Client) -> None:
    began = time.monotonic()
    client.send(count=11, rate=50)
    assert time.monotonic() - began >= 0.2


def test_an_undelivered_event_is_in_the_event_list_only(client: Client, door: Door) -> None:
    [event] = client.send(deliver=False)
    assert door.received == []
    assert event["status"] is None
    [listed] = client.call("GET", "/events").json()["_results"]
    assert listed["id"] == event["event_id"]


def test_a_job_reports_its_progress(client: Client) -> None:
    job = client.control("POST", "/send", type="mixed", company="cmp_kettle", count=20, rate=100, wait=False)
    deadline = time.monotonic() + 10
    while not (report := client.control("GET", f"/jobs/{job['job']}"))["done"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (job["done"], report["count"], report["acknowledged"]) == (False, 20, 20)
    assert client.verdict()["pending"] == 0


@pytest.mark.parametrize("fault", ["bad_signature", "no_signature"])
def test_a_forged_webhook_is_badly_signed_and_unknown_to_the_api(fault: str, client: Client, door: Door) -> None:
    client.send(fault=fault)
    assert not is_signed(*door.received[0])
    assert client.call("GET", "/events").json()["_results"] == []


def test_a_conversation_can_be_sent_to_again(client: Client) -> None:
    [first] = client.send()
    [second] = client.send(conversation=first["conversation_id"])
    assert second["conversation_id"] == first["conversation_id"]
    messages = client.call("GET", f"/conversations/{first['conversation_id']}/messages").json()["_results"]
    assert [each["id"] for each in messages] == [second["message_id"], first["message_id"]]


def test_every_try_is_a_line_in_the_ledgers_file(start: Start, tmp_path: Path) -> None:
    client = start(data=tmp_path)
    [event] = client.send()
    client.call("GET", "/me")
    lines: list[Any] = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert [(line["what"], line["status"]) for line in lines] == [("try", 200), ("call", 200)]
    assert lines[0]["event_id"] == event["event_id"]
    totals = client.control("GET", "/ledger")
    assert (totals["statuses"], totals["calls"]) == ({"200": 1}, {"GET /me 200": 1})
    assert totals["door_under_2s"] == 1.0
