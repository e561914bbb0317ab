"""The API over HTTP has the same lists, changes, downloads, tokens and limits as Front."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.sandbox.conftest import Client, Door, Start


def test_a_token_names_its_company(client: Client) -> None:
    body = client.call("GET", "/me").json()
    assert (body["id"], body["name"]) == ("cmp_kettle", "Blue Kettle")


def test_creating_a_company_twice_changes_nothing(client: Client) -> None:
    assert client.create_company("cmp_kettle", "Another name") == client.company


def test_a_company_has_a_bot_and_a_blocked_colleague(client: Client) -> None:
    people = client.call("GET", "/teammates").json()["_results"]
    assert [each["type"] for each in people].count("rule") == 1
    assert [each["is_blocked"] for each in people].count(True) == 1


def test_an_inbox_has_a_technical_address_and_a_public_one(client: Client) -> None:
    inboxes = client.call("GET", "/inboxes").json()["_results"]
    channels = client.call("GET", "/channels").json()["_results"]
    assert [each["_links"]["related"]["inbox"] for each in channels] == [each["_links"]["self"] for each in inboxes]
    assert [each["send_as"] for each in channels] == client.company["addresses"]


def test_teammates_can_be_added_changed_and_removed(client: Client) -> None:
    staff = "/companies/cmp_kettle/teammates"
    newcomer = client.control("POST", staff, email="new@kettle.example", first_name="Kim", type="ai")["id"]
    leaver = client.company["teammates"][2]["id"]
    client.control("POST", staff, id=leaver, is_blocked=True)
    people = {each["id"]: each for each in client.call("GET", "/teammates").json()["_results"]}
    assert (people[newcomer]["email"], people[newcomer]["type"]) == ("new@kettle.example", "ai")
    assert people[leaver]["is_blocked"]
    client.control("POST", staff, id=leaver, gone=True)
    assert leaver not in {each["id"] for each in client.call("GET", "/teammates").json()["_results"]}


def test_a_private_inbox_can_be_created(client: Client) -> None:
    words = {"name": "Kim", "address": "kim@kettle.example", "type": "gmail", "is_private": True}
    opened = client.control("POST", "/companies/cmp_kettle/inboxes", **words)
    inbox = client.call("GET", "/inboxes").json()["_results"][-1]
    channel = client.call("GET", "/channels").json()["_results"][-1]
    assert (inbox["id"], inbox["is_private"], inbox["is_public"]) == (opened["id"], True, False)
    assert (channel["address"], channel["send_as"], channel["type"]) == ("kim@kettle.example", None, "gmail")


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_without_a_good_token_there_is_only_401(token: str, client: Client) -> None:
    answer = client.session.get(f"{client.running.url}/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["_error"]["title"]) == (401, "Unauthenticated")


def test_archiving_is_seen_in_the_conversation_its_events_and_the_verdict(client: Client) -> None:
    [event] = client.send(expect="archived")
    path = f"/conversations/{event['conversation_id']}"
    assert client.verdict()["lost"] == 1
    answer = client.call("PATCH", path, json={"status": "archived"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.call("GET", path).json()["status"] == "archived"
    newest, oldest = client.call("GET", f"{path}/events").json()["_results"]
    assert (newest["type"], newest["source"]) == ("archive", {"_meta": {"type": "api"}, "data": None})
    assert oldest["id"] == event["event_id"]
    verdict = client.verdict()
    assert (verdict["lost"], verdict["double"], verdict["ghost"], verdict["effects"]) == (0, 0, 0, 1)
    client.call("PATCH", path, json={"status": "archived"})
    verdict = client.verdict()
    assert (verdict["double"], verdict["double_conversations"]) == (1, [event["conversation_id"]])


def test_new_mail_reopens_an_archived_conversation(client: Client) -> None:
    [event] = client.send()
    path = f"/conversations/{event['conversation_id']}"
    client.call("PATCH", path, json={"status": "archived"})
    client.send(conversation=event["conversation_id"])
    assert client.call("GET", path).json()["status"] == "unassigned"


def test_a_change_echoes_as_a_webhook_if_the_settings_say_so(start: Start, door: Door) -> None:
    client = start(echo=True)
    [event] = client.send()
    client.call("PATCH", f"/conversations/{event['conversation_id']}", json={"status": "archived"})
    deadline = time.monotonic() + 5
    while len(door.received) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    echo = json.loads(door.received[1][1])
    assert (echo["type"], echo["payload"]["source"]["_meta"]["type"]) == ("conversation_archived", "api")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"status": "closed"}, 400),
        ({"status": 7}, 400),
        ({"is_read": True}, 400),
        ({"tag_ids": "tag_1"}, 400),
        ({"tag_ids": ["tag_unknown"]}, 400),
        ({"assignee_id": "tea_unknown"}, 400),
        ({"inbox_id": "inb_unknown"}, 400),
        ([], 400),
        (None, 204),
        ({"assignee_id": None}, 204),
        ({"custom_fields": {}}, 204),
    ],
)
def test_a_body_is_taken_whole_or_refused(body: object, status: int, client: Client) -> None:
    [event] = client.send()
    path = f"/conversations/{event['conversation_id']}"
    assert client.call("PATCH", path, json=body).status_code == status


def test_a_refused_body_changes_nothing(client: Client) -> None:
    [event] = client.send()
    path = f"/conversations/{event['conversation_id']}"
    assert client.call("PATCH", path, json={"status": "archived", "tag_ids": ["tag_no"]}).status_code == 400
    assert client.call("GET", path).json()["status"] == "unassigned"


def test_broken_json_is_answered_with_a_message_only(client: Client) -> None:
    [event] = client.send()
    answer = client.call("PATCH", f"/conversations/{event['conversation_id']}", data=b"{")
    assert answer.status_code == 400
    assert set(answer.json()["_error"]) == {"message"}


def test_tags_come_and_go_and_patch_replaces_them(client: Client) -> None:
    [event] = client.send()
    path = f"/conversations/{event['conversation_id']}"
    first, second, _ = (tag["id"] for tag in client.company["tags"])
    seen = []
    for method, route, tags in (("POST", "/tags", [first]), ("PATCH", "", [second]), ("DELETE", "/tags", [second])):
        assert client.call(method, path + route, json={"tag_ids": tags}).status_code == 204
        seen.append([tag["id"] for tag in client.call("GET", path).json()["tags"]])
    assert seen == [[first], [second], []]
    types = [each["type"] for each in client.call("GET", f"{path}/events").json()["_results"]]
    assert sorted(types) == ["inbound", "tag", "tag", "untag", "untag"]


def test_assigning_and_moving(client: Client) -> None:
    [event] = client.send()
    path = f"/conversations/{event['conversation_id']}"
    teammate, inbox = client.company["teammates"][0]["id"], client.company["inboxes"][1]["id"]
    assert client.call("PATCH", path, json={"assignee_id": teammate, "inbox_id": inbox}).status_code == 204
    body = client.call("GET", path).json()
    assert (body["status"], body["assignee"]["id"]) == ("assigned", teammate)


@pytest.mark.parametrize("size", [0, 1, 100_000, 25 * 1024 * 1024])
def test_a_download_has_the_described_size_and_checksum(size: int, client: Client) -> None:
    [event] = client.send(attachments=[{"filename": "März.pdf", "size": size, "content_type": "application/pdf"}])
    [attachment_id] = event["attachment_ids"]
    digest, received = hashlib.sha256(), 0
    with client.call("GET", f"/download/{attachment_id}", stream=True) as answer:
        for chunk in answer.iter_content(65536):
            digest.update(chunk)
            received += len(chunk)
    assert (received, answer.headers["Content-Length"]) == (size, str(size))
    assert answer.headers["Content-Type"] == "application/pdf"
    assert client.control("GET", f"/files/{attachment_id}")["sha256"] == digest.hexdigest()


def test_events_come_in_pages_of_fifteen_that_newcomers_do_not_shift(client: Client) -> None:
    sent = {event["event_id"] for event in client.send(count=40, deliver=False)}
    seen, path = [], "/events?limit=50&q[types][]=inbound"
    while path:
        body = client.call("GET", path).json()
        assert len(body["_results"]) <= 15
        seen += [each["id"] for each in body["_results"]]
        client.send(deliver=False)
        path = (body["_pagination"]["next"] or "").removeprefix(client.running.url)
    assert len(seen) == len(set(seen)) == 40
    assert set(seen) == sent


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [3, 2, 1, 0]),
        ("sort_order=asc", [0, 1, 2, 3]),
        # neither bound is included
        ("q[after]=101&q[before]=103", [2]),
        ("q[types][]=comment", []),
        ("q[types]=inbound&limit=1", [3]),
    ],
)
def test_events_are_filtered_and_ordered(query: str, numbers: list[int], client: Client) -> None:
    sent = [client.send(deliver=False, emitted_at=100.0 + n)[0]["event_id"] for n in range(4)]
    listed = [each["id"] for each in client.call("GET", f"/events?{query}").json()["_results"]]
    assert listed == [sent[number] for number in numbers]


def test_events_can_be_filtered_by_inbox(client: Client) -> None:
    client.send("conversation_moved", deliver=False)
    client.send(deliver=False)
    desk, orders = (inbox["id"] for inbox in client.company["inboxes"])
    kinds = {
        inbox: [each["type"] for each in client.call("GET", f"/events?q[inboxes][]={inbox}").json()["_results"]]
        for inbox in (desk, orders)
    }
    assert kinds == {desk: ["inbound"], orders: ["move"]}


def test_another_companys_token_finds_nothing_and_is_noticed(client: Client) -> None:
    other = client.create_company("cmp_other", "Other House")
    [event] = client.send(attachment_count=1)
    for path in (
        f"/conversations/{event['conversation_id']}",
        f"/messages/{event['message_id']}",
        f"/download/{event['attachment_ids'][0]}",
    ):
        assert client.call("GET", path, token=other["api_token"]).status_code == 404
    assert client.call("GET", "/conversations/cnv_nobody").status_code == 404
    assert client.verdict()["wrong_token"] == 3


def test_two_companies_may_have_the_same_ids_and_different_bytes(client: Client) -> None:
    other = client.create_company("cmp_other", "Other House")
    same: dict[str, Any] = {"conversation": "cnv_same", "attachments": [{"id": "fil_same", "size": 1000}]}
    client.send(**same)
    client.send(**same, company="cmp_other")
    contents = [client.call("GET", "/download/fil_same", token=t).content for t in (None, other["api_token"])]
    assert contents[0] != contents[1]
    client.call("PATCH", "/conversations/cnv_same", json={"status": "deleted"})
    mine, theirs = (client.control("GET", f"/conversations/cnv_same?company={c}") for c in ("cmp_kettle", "cmp_other"))
    assert (mine["status"], theirs["status"]) == ("deleted", "open")
    assert client.verdict()["wrong_token"] == 0


def test_the_minute_of_a_company_ends_in_429(start: Start) -> None:
    client = start(requests_per_minute=2)
    answers = [client.call("GET", "/me") for _ in range(3)]
    assert [each.headers["x-ratelimit-remaining"] for each in answers] == ["1", "0", "0"]
    refused = answers[-1]
    assert (refused.status_code, refused.headers["x-ratelimit-limit"]) == (429, "2")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert "x-front-tier" not in refused.headers


def test_a_burst_on_one_resource_ends_in_429_of_its_own(start: Start) -> None:
    client = start(burst_per_second=2, requests_per_minute=100)
    [event] = client.send()
    path = f"/conversations/{event['conversation_id']}"
    refused = [client.call("GET", path) for _ in range(3)][-1]
    assert (refused.status_code, refused.headers["x-front-tier"], refused.headers["retry-after"]) == (429, "2", "1")
    assert int(refused.headers["x-ratelimit-remaining"]) > 0
    assert client.call("GET", "/me").status_code == 200


def test_a_persons_change_is_in_the_history_and_undoing_it_is_double(client: Client, door: Door) -> None:
    [event] = client.send(expect="archived")
    path = f"/conversations/{event['conversation_id']}"
    client.call("PATCH", path, json={"status": "archived"})
    acted = client.control("POST", f"{path}/act", do="reopen", by="teammate")
    assert acted["changed"]
    client.call("PATCH", path, json={"status": "archived"})
    story = client.control("GET", path)
    assert [entry["kind"] for entry in story["history"]] == [
        "arrived",
        "asked",
        "effect",
        "person_changed",
        "effect",
    ]
    assert [call["method"] for call in story["calls"]] == ["PATCH", "PATCH"]
    assert client.verdict()["double"] == 1
    assert len(door.received) == 1


def test_reset_forgets_everything(client: Client) -> None:
    client.send()
    client.control("POST", "/reset")
    assert client.call("GET", "/me").status_code == 401
    assert client.verdict()["sent"] == 0
