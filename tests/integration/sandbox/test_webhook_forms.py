"""Webhooks can have each form that Front documents or that was seen: previews, other times, other types and hosts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.front_document import DOCUMENT

if TYPE_CHECKING:
    from tests.integration.sandbox.conftest import Client, Door

AT = 1694046470.93


def payload(door: Door) -> Any:
    return json.loads(door.received[-1][1])["payload"]


def test_a_preview_has_type_link_and_id_only(client: Client, door: Door) -> None:
    [event] = client.send(fault="preview_event", attachment_count=1)
    sent, desk = payload(door), client.company["inboxes"][0]["id"]
    assert sent["target"] == {
        "_meta": {"type": "message"},
        "_links": {"self": f"{client.running.url}/messages/{event['message_id']}"},
        "id": event["message_id"],
    }
    assert sent["source"] == {
        "_meta": {"type": "inboxes"},
        "_links": {"self": f"{client.running.url}/inboxes/{desk}"},
        "id": desk,
    }
    assert set(sent["conversation"]) == {"id", "_links"}
    assert sent["conversation"]["id"] == event["conversation_id"]
    assert {"id", "type", "emitted_at", "_links"} < set(sent)
    message = client.call("GET", sent["target"]["_links"]["self"].removeprefix(client.running.url)).json()
    assert len(message["attachments"]) == 1


@pytest.mark.parametrize("part", ["source", "target", "conversation"])
def test_a_single_part_can_be_a_preview(part: str, client: Client, door: Door) -> None:
    client.send(fault=f"preview_{part}")
    sent = payload(door)
    whole = {"source": "data" in sent["source"], "target": "data" in sent["target"]}
    whole["conversation"] = "subject" in sent["conversation"]
    assert [name for name, is_whole in whole.items() if not is_whole] == [part]


def test_a_preview_can_have_links_and_no_ids(client: Client, door: Door) -> None:
    [event] = client.send(fault="preview_links_only")
    sent = payload(door)
    assert not any("id" in sent[part] for part in ("source", "target", "conversation"))
    assert sent["target"]["_links"]["self"].endswith(f"/messages/{event['message_id']}")
    assert sent["conversation"]["_links"]["self"].endswith(f"/conversations/{event['conversation_id']}")


@pytest.mark.parametrize(
    ("event_type", "source", "target"),
    [
        ("tag_added", "teammates", "tags"),
        ("assignee_changed", "teammates", "teammates"),
        ("conversation_moved", "teammates", "inboxes"),
        ("mention", "teammates", "comments"),
        ("link_added", "teammates", "links"),
        ("custom_field_updated", "teammates", "custom_fields"),
        ("topic_identified", "rules", None),
        # No resource is behind these sources
        ("sending_error", None, "messages"),
        ("conversation_snooze_expired", None, None),
    ],
)
def test_every_type_has_a_preview(
    event_type: str, source: str | None, target: str | None, client: Client, door: Door
) -> None:
    client.send(event_type, fault="preview_event")
    sent = payload(door)
    links = [sent.get(part, {}).get("_links", {}).get("self") for part in ("source", "target")]
    assert [link and link.split("/")[3] for link in links] == [source, target]
    assert not any("data" in sent.get(part, {}) for part in ("source", "target"))


@pytest.mark.parametrize(
    ("fault", "written"),
    [
        (None, AT),
        ("emitted_at_text", "1694046470.93"),
        ("emitted_at_iso", "2023-09-07T00:27:50.930Z"),
        ("emitted_at_unreadable", "last Tuesday"),
        ("no_emitted_at", None),
    ],
)
def test_the_time_can_be_written_otherwise(fault: str | None, written: object, client: Client, door: Door) -> None:
    [event] = client.send(fault=fault, emitted_at=AT)
    assert payload(door).get("emitted_at") == written
    # The API lists it as a number
    assert client.call("GET", f"/events/{event['event_id']}").json()["emitted_at"] == AT


def test_a_validation_request_can_lack_its_challenge(client: Client, door: Door) -> None:
    [event] = client.send(fault="sync_without_challenge")
    headers, body = door.received[-1]
    assert json.loads(body) == {"type": "sync", "authorization": {"id": "cmp_kettle"}}
    assert "x-front-signature" in headers
    assert "x-front-challenge" not in headers
    assert (event["status"], client.call("GET", "/events").json()["_results"]) == (200, [])


def test_links_can_name_a_company_host_with_an_underscore(client: Client, door: Door) -> None:
    client.send(fault="underscore_host", attachment_count=1)
    sent = payload(door)
    host = "https://blue_kettle_kettle.api.frontapp.com"
    assert sent["_links"]["self"] == f"{host}/events/{sent['id']}"
    assert sent["target"]["data"]["attachments"][0]["url"].startswith(f"{host}/download/fil_")


def test_all_links_of_a_company_can_name_its_host(client: Client, door: Door) -> None:
    host = "https://blue_kettle.api.frontapp.com"
    token = client.control("POST", "/companies", id="cmp_host", name="Hosted", host=host)["api_token"]
    events = client.send(company="cmp_host", count=2)
    assert payload(door)["_links"]["self"].startswith(f"{host}/events/")
    page = client.call("GET", "/events?limit=1", token=token).json()
    assert page["_pagination"]["next"].startswith(f"{host}/events?")
    old, new = (f"/conversations/{event['conversation_id']}" for event in events)
    client.control("POST", f"{old}/act", do="merge", into=events[1]["conversation_id"])
    assert client.call("GET", old, token=token).headers["Location"] == host + new


def test_every_type_of_the_document_can_be_sent(client: Client, door: Door) -> None:
    if not DOCUMENT.exists():
        pytest.skip("Front's API document does not lie beside the project")
    schema = json.loads(DOCUMENT.read_text(encoding="utf-8"))["components"]["schemas"]["EventResponse"]
    documented = set(schema["properties"]["type"]["enum"])
    refused = client.session.post(f"{client.running.url}/sandbox/send", json={"type": "?", "company": "cmp_kettle"})
    for event_type in refused.json()["error"].partition("there are mixed, ")[2].split(", "):
        client.send(event_type)
    assert {json.loads(body)["payload"]["type"] for _, body in door.received} == documented


# Type, source and target as Front's table of events has them
TABLE = [
    ("unassign", "teammate", None),
    ("out_reply", "inboxes", "message"),
    ("mention", "teammate", "comment"),
    ("forward", "teammate", "message"),
    ("sending_error", "recipient", "message"),
    ("message_bounce_error", "recipient", "message"),
    ("conversations_merged", "teammate", "deleted_conversation_ids"),
    ("custom_field_updated", "teammate", "custom_field"),
    ("ticket_status_update", "teammate", None),
    ("call_started", "teammate", None),
]


@pytest.mark.parametrize(("event_type", "source", "target"), TABLE)
def test_types_without_an_application_name_carry_the_apis_name_twice(
    event_type: str, source: str, target: str | None, client: Client, door: Door
) -> None:
    [event] = client.send(event_type)
    body = json.loads(door.received[-1][1])
    sent = body["payload"]
    assert (body["type"], sent["type"], sent["source"]["_meta"]["type"]) == (event_type, event_type, source)
    assert sent.get("target", {}).get("_meta", {}).get("type") == target
    [listed] = client.call("GET", f"/events?q[types][]={event_type}").json()["_results"]
    assert listed["id"] == event["event_id"]


def test_a_mix_has_application_webhooks_only(client: Client, door: Door) -> None:
    client.send("mixed", count=200)
    assert not {json.loads(body)["type"] for _, body in door.received} & {event_type for event_type, _, _ in TABLE}


def test_a_merge_event_merges_and_names_the_merged_conversations(client: Client, door: Door) -> None:
    gone, stays = (client.send(expect="archived")[0]["conversation_id"] for _ in range(2))
    client.send("conversations_merged", conversation=stays, merges=[gone])
    sent = payload(door)
    assert (sent["conversation"]["id"], sent["target"]["data"]) == (stays, [gone])
    answer = client.call("GET", f"/conversations/{gone}")
    assert (answer.status_code, answer.headers["Location"].rpartition("/")[2]) == (301, stays)


def test_a_merge_event_without_names_merges_a_new_conversation(client: Client, door: Door) -> None:
    [event] = client.send("conversations_merged")
    [gone] = payload(door)["target"]["data"]
    assert client.call("GET", f"/conversations/{gone}").status_code == 301
    assert client.control("GET", f"/conversations/{gone}")["id"] == event["conversation_id"]


def test_a_person_can_merge_with_a_webhook(client: Client, door: Door) -> None:
    gone, stays = (client.send()[0]["conversation_id"] for _ in range(2))
    client.control("POST", f"/conversations/{gone}/act", do="merge", into=stays, webhook=True)
    [merge] = client.call("GET", "/events?q[types][]=conversations_merged").json()["_results"]
    assert (merge["conversation"]["id"], merge["target"]["data"]) == (stays, [gone])


def test_a_conversation_is_not_merged_into_itself(client: Client) -> None:
    request = {"type": "conversations_merged", "company": "cmp_kettle", "conversation": "cnv_1", "merges": ["cnv_1"]}
    assert client.session.post(f"{client.running.url}/sandbox/send", json=request).status_code == 400
