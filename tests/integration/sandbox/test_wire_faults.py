"""Each fault has the effect of its name on the connection."""

from __future__ import annotations

import errno
import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from tests.integration.sandbox.conftest import Client, Start


def raw(client: Client, method: str, path: str, body: bytes = b"") -> bytes:
    """Return all bytes of a connection until it ends; raise an error after a reset."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: front\r\nAuthorization: Bearer {client.company['api_token']}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    received = b""
    with socket.create_connection(("127.0.0.1", client.running.port), timeout=5) as connection:
        connection.sendall(head.encode() + body)
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.fixture
def path(client: Client) -> str:
    [event] = client.send(expect="archived")
    return f"/conversations/{event['conversation_id']}"


def archive(client: Client, path: str, **more: Any) -> requests.Response:
    return client.call("PATCH", path, json={"status": "archived"}, **more)


def status(client: Client, path: str) -> Any:
    return client.control("GET", path)["status"]


@pytest.mark.parametrize(
    ("kind", "code"),
    [("500", 500), ("503", 503), ("401", 401), ("403", 403), ("404_heals", 404), ("429", 429)],
)
def test_an_error_has_fronts_body_and_no_effect(kind: str, code: int, client: Client, path: str) -> None:
    client.fault(kind, count=1)
    answer = archive(client, path)
    assert (answer.status_code, answer.json()["_error"]["status"]) == (code, code)
    assert status(client, path) == "open"
    assert archive(client, path).status_code == 204
    assert client.control("GET", "/ledger")["faults"] == {kind: 1}


@pytest.mark.parametrize(
    ("kind", "retry_after", "tier", "has_room"),
    [("429", "7", None, False), ("429_no_retry_after", None, None, False), ("429_burst", "7", "2", True)],
)
def test_a_429_has_fronts_headers(
    kind: str, retry_after: str | None, tier: str | None, has_room: bool, start: Start
) -> None:
    client = start(requests_per_minute=120)
    client.fault(kind, seconds=7)
    headers = client.call("GET", "/me").headers
    assert (headers.get("retry-after"), headers.get("x-front-tier")) == (retry_after, tier)
    assert (int(headers["x-ratelimit-remaining"]) > 0) is has_room


@pytest.mark.parametrize("words", ["Sun, 22 Nov 2026 18:00:00 GMT", "-5", "1000000000", "soon"])
def test_a_429_can_have_any_text_as_retry_after(words: str, client: Client) -> None:
    client.fault("429", retry_after=words)
    assert client.call("GET", "/me").headers["retry-after"] == words


def test_a_call_before_its_time_is_counted(client: Client) -> None:
    client.fault("429", seconds=5, count=1)
    client.call("GET", "/me")
    time.sleep(0.6)
    client.call("GET", "/me")
    assert client.control("GET", "/ledger")["early"] == 1


def test_a_timeout_is_silence_and_then_the_end(client: Client, path: str) -> None:
    client.fault("timeout", seconds=0.3)
    began = time.monotonic()
    assert raw(client, "PATCH", path, b'{"status":"archived"}') == b""
    assert time.monotonic() - began >= 0.3
    assert status(client, path) == "open"


@pytest.mark.parametrize(("kind", "after"), [("reset_before", "open"), ("reset_after", "archived")])
def test_a_reset_is_a_reset_with_or_without_effect(kind: str, after: str, client: Client, path: str) -> None:
    client.fault(kind, method="PATCH")
    with pytest.raises(ConnectionResetError) as caught:
        raw(client, "PATCH", path, b'{"status":"archived"}')
    assert caught.value.errno == errno.ECONNRESET
    assert status(client, path) == after


def test_a_cut_body_ends_in_the_middle(client: Client) -> None:
    [event] = client.send(attachments=[{"size": 100_000}])
    client.fault("cut_body")
    head, _, body = raw(client, "GET", f"/download/{event['attachment_ids'][0]}").partition(b"\r\n\r\n")
    assert b"Content-Length: 100000" in head
    assert len(body) == 50_000


def test_a_cut_answer_without_a_body_ends_in_its_head(client: Client, path: str) -> None:
    client.fault("cut_body")
    received = raw(client, "PATCH", path, b'{"status":"archived"}')
    assert received.startswith(b"HTTP/1.1 204")
    assert b"\r\n\r\n" not in received
    assert status(client, path) == "archived"


def test_a_slow_body_takes_its_time_and_is_whole(client: Client) -> None:
    client.fault("slow_body", seconds=0.4)
    began = time.monotonic()
    assert client.call("GET", "/me").json()["id"] == "cmp_kettle"
    assert time.monotonic() - began >= 0.35


def test_an_oversized_body_names_no_length_and_goes_on(client: Client) -> None:
    [event] = client.send(attachments=[{"size": 1000}])
    client.fault("oversized_body", bytes=3_000_000)
    answer = client.call("GET", f"/download/{event['attachment_ids'][0]}")
    assert "Content-Length" not in answer.headers
    assert len(answer.content) == 3_001_000


def test_404_heals_for_each_path_by_itself(client: Client) -> None:
    [event] = client.send(attachment_count=2)
    client.fault("404_heals", count=2, path_regex="^/download/")
    for attachment_id in event["attachment_ids"]:
        codes = [client.call("GET", f"/download/{attachment_id}").status_code for _ in range(3)]
        assert codes == [404, 404, 200]


def test_a_merged_conversation_answers_301_everywhere_and_lives_on(client: Client, path: str) -> None:
    client.fault("merged_301", rate=1.0)
    answers = [client.call("GET", path), client.call("GET", f"{path}/events?limit=3"), archive(client, path)]
    assert [answer.status_code for answer in answers] == [301] * 3
    found = re.fullmatch(rf"{client.running.url}(/conversations/cnv_\w+)", answers[0].headers["Location"])
    assert found
    assert answers[1].headers["Location"] == f"{answers[0].headers['Location']}/events?limit=3"
    assert archive(client, found[1]).status_code == 204
    story = client.control("GET", path)
    assert (story["status"], story["merged_from"]) == ("archived", [path.rpartition("/")[2]])
    verdict = client.verdict()
    assert (verdict["lost"], verdict["double"], verdict["ghost"]) == (0, 0, 0)


def test_a_redirect_leads_to_another_host_that_notices_tokens(client: Client, path: str) -> None:
    client.fault("redirect_offsite", count=1)
    location = client.call("GET", path).headers["Location"]
    assert location.startswith(f"http://localhost:{client.running.port}/elsewhere/")
    url = location.replace("localhost", "127.0.0.1")
    client.session.get(url)
    client.session.get(url, headers={"Authorization": "Bearer anything"})
    totals = client.control("GET", "/ledger")
    assert (totals["elsewhere"], totals["leaked_token"]) == (2, 1)


def test_a_message_can_lack_recipients_and_attachments(client: Client) -> None:
    [event] = client.send(attachment_count=1)
    client.fault("missing_message_fields")
    body = client.call("GET", f"/messages/{event['message_id']}").json()
    assert body["id"] == event["message_id"]
    assert not {"recipients", "attachments"} & set(body)


def test_faults_are_listed_with_their_use_and_removed(client: Client) -> None:
    client.fault("500", path_regex="^/me$")
    client.call("GET", "/me")
    [rule] = client.control("GET", "/faults")["faults"]
    assert (rule["kind"], rule["used"]) == ("500", 1)
    client.control("DELETE", f"/faults/{rule['id']}")
    assert client.call("GET", "/me").status_code == 200


def test_a_fault_for_one_company_leaves_the_others_alone(client: Client) -> None:
    other = client.create_company("cmp_other", "Other House")
    client.fault("503", company="cmp_other")
    assert client.call("GET", "/me").status_code == 200
    assert client.call("GET", "/me", token=other["api_token"]).status_code == 503


def test_a_mistaken_fault_is_refused_with_the_reason(client: Client) -> None:
    answer = client.session.post(f"{client.running.url}/sandbox/faults", json={"kind": "418"})
    assert answer.status_code == 400
    assert "kind is one of" in json.loads(answer.content)["error"]
