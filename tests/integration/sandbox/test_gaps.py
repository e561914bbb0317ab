"""The event list also has the events without a webhook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.sandbox.conftest import Client, Door


def listed(client: Client, query: str = "") -> list[dict[str, Any]]:
    return client.call("GET", f"/events?q[types][]=inbound{query}").json()["_results"]


def test_a_share_of_the_webhooks_is_never_sent(client: Client) -> None:
    events = client.send(count=200, dropped=0.3, expect="archived")
    silent = [event for event in events if event["status"] is None]
    assert 30 <= len(silent) <= 90
    assert all(event["acknowledged"] for event in events if event not in silent)
    verdict = client.verdict()
    assert (verdict["lost"], verdict["unserved"]) == (200 - len(silent), len(silent))


def test_an_event_without_a_webhook_is_on_the_list(client: Client) -> None:
    client.send(count=3, dropped=1)
    assert len(listed(client)) == 3


def private_inbox(client: Client) -> str:
    opened = client.control(
        "POST", "/companies/cmp_kettle/inboxes", name="Ines", address="ines@kettle.example", is_private=True
    )
    return str(opened["id"])


def test_events_in_a_private_inbox_send_no_webhooks(client: Client) -> None:
    private = private_inbox(client)
    assert not any(event["acknowledged"] for event in client.send(count=2, inbox=private))
    sources = [event["source"]["data"][0] for event in listed(client)]
    assert [(each["id"], each["is_private"]) for each in sources] == [(private, True)] * 2


def test_the_list_can_be_narrowed_to_shared_inboxes(client: Client) -> None:
    client.send(inbox=private_inbox(client))
    client.send(deliver=False)
    desk = client.company["inboxes"][0]["id"]
    assert [event["source"]["data"][0]["id"] for event in listed(client, f"&q[inboxes][]={desk}")] == [desk]


@pytest.mark.parametrize("wrong", [{"dropped": 1.5}, {"dropped": -0.1}, {"inbox": "inb_none"}])
def test_a_request_that_makes_no_sense_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    request = {"type": "inbound_received", "company": "cmp_kettle", **wrong}
    assert client.session.post(f"{client.running.url}/sandbox/send", json=request).status_code == 400


def test_ten_thousand_old_events_are_there_at_once(client: Client, door: Door) -> None:
    assert len(client.send(count=10_000, deliver=False, emitted_at=1_700_000_000.0)) == 10_000
    assert door.received == []
    assert len(listed(client, "&q[before]=1700000001")) == 15
    assert listed(client, "&q[after]=1700000001") == []
