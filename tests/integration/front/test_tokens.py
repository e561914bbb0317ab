"""A token goes to Front alone: raw servers on loopback record all other requests."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.server import RunningSandbox
from shared import errors
from shared.connection.budget import Budget
from shared.front.client import FrontClient, TenantClient
from tests.integration.front.conftest import Fault, token
from tests.integration.front.peers import Peer, answer

At = Callable[[str], TenantClient]
Peers = Callable[..., Peer]
CANARY = b"canary-token"
ARCHIVED = answer("204 No Content")


@pytest.fixture
def stranger(peer: Peers) -> Peer:
    """A server outside Front that answers every request with 200."""
    return peer(answer(body=b"{}"))


def _calls(client: TenantClient) -> list[Callable[[], object]]:
    return [
        client.me,
        lambda: client.conversation("cnv_1"),
        lambda: client.conversation_events("cnv_1", since=datetime.now(UTC)),
        lambda: client.message("msg_1"),
        lambda: client.latest_message("cnv_1"),
        lambda: client.set_status("cnv_1", "archived"),
        lambda: client.add_tag("cnv_1", "tag_1"),
        lambda: client.download("fil_1", max_bytes=9).__enter__(),
    ]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("path", ["/conversations/cnv_2", "/download/fil_1"])
def test_no_call_follows_a_redirect_to_a_stranger(at: At, peer: Peers, stranger: Peer, status: str, path: str) -> None:
    client = at(peer(answer(status, location=stranger.url + path)).url)
    for call in _calls(client):
        with pytest.raises(errors.UnsafeRedirect):
            call()
    assert stranger.connections == 0


@pytest.mark.parametrize(
    "place",
    [
        "https://127.0.0.1:{port}/",
        "https://localhost:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/",
        "https://0.0.0.0:{port}/",
        "https://2130706433:{port}/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]:{port}/",
    ],
)
def test_a_file_is_not_fetched_from_inside_the_network(at: At, peer: Peers, stranger: Peer, place: str) -> None:
    client = at(peer(answer("302 Found", location=place.format(port=stranger.port))).url)
    with pytest.raises(errors.UnsafeRedirect), client.download("fil_1", max_bytes=9):
        pytest.fail("the download was opened")
    assert stranger.connections == 0


def test_a_next_page_at_a_strangers_is_not_asked(at: At, peer: Peers, stranger: Peer) -> None:
    page = {"_results": [], "_pagination": {"next": f"{stranger.url}/conversations/cnv_1/events?page_token=a"}}
    client = at(peer(answer(body=json.dumps(page).encode())).url)
    with pytest.raises(errors.UnsafeRedirect):
        client.conversation_events("cnv_1", since=datetime.now(UTC))
    assert stranger.connections == 0


def test_the_sandboxs_own_stranger_sees_nobody(sandbox: RunningSandbox, client: TenantClient, fault: Fault) -> None:
    fault("redirect_offsite")
    for call in _calls(client):
        with pytest.raises(errors.UnsafeRedirect):
            call()
    totals = json.dumps(sandbox.front.ledger.totals())
    assert '"leaked_token": 0' in totals
    assert '"elsewhere": 0' in totals


def test_the_environment_routes_nothing_elsewhere(
    at: At, peer: Peers, stranger: Peer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, stranger.url)
    server = peer(ARCHIVED)
    at(server.url).set_status("cnv_1", "archived")
    assert stranger.connections == 0
    assert b"Authorization: Bearer canary-token" in server.requests[0]


def test_a_change_of_a_merged_conversation_is_sent_nowhere_by_itself(at: At, peer: Peers) -> None:
    server = peer(answer("301 Moved", location="/conversations/cnv_2"), ARCHIVED)
    with pytest.raises(errors.ConversationMoved):
        at(server.url).set_status("cnv_1", "archived")
    assert len(server.requests) == 1


def test_one_tenants_cookies_and_token_are_not_anothers(budget: Budget, peer: Peers) -> None:
    server = peer(answer("204 No Content", set_cookie="session=first; Path=/"))
    front = FrontClient(server.url, budget)
    front.for_tenant(token("token-of-a", "cmp_a")).set_status("cnv_1", "archived")
    front.for_tenant(token("token-of-b", "cmp_b")).set_status("cnv_1", "archived")
    _, second = server.requests
    assert b"Bearer token-of-b" in second
    assert b"token-of-a" not in second
    assert b"cookie" not in second.lower()


def test_a_token_of_one_company_is_counted_by_that_company(
    sandbox: RunningSandbox, client: TenantClient, budget: Budget
) -> None:
    budget.pause("cmp_2", 30)
    assert client.me().company_id == "cmp_1"


@pytest.mark.parametrize("junk", ["canary\r\nX-Other: 1", "canary\n", "canary token", "canary\u0660", ""])
def test_a_token_that_is_none_is_not_sent_and_not_repeated(budget: Budget, peer: Peers, junk: str) -> None:
    server = peer(ARCHIVED)
    with pytest.raises(errors.NeedsReconnect) as error:
        FrontClient(server.url, budget).for_tenant(token(junk)).set_status("cnv_1", "archived")
    assert "canary" not in "".join(traceback.format_exception(error.value))
    assert server.connections == 0


@pytest.mark.parametrize("script", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"])
def test_a_traceback_of_a_lost_answer_names_no_conversation(at: At, peer: Peers, script: bytes) -> None:
    server, conversation_id = peer(lambda connection: connection.sendall(script)), "cnv_1a2b3c"
    with pytest.raises(errors.UnclearAnswer) as error:
        at(server.url).set_status(conversation_id, "archived")
    printed = "".join(traceback.format_exception(error.value))
    assert [word for word in (conversation_id, CANARY.decode(), str(server.port)) if word in printed] == []


def test_no_trace_of_the_token_in_any_error(at: At, peer: Peers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for status in ("400 Bad", "401 No", "403 No", "404 No", "429 Wait", "500 Broken", "302 Found"):
        with pytest.raises(errors.MailroomError) as error:
            at(peer(answer(status, body=CANARY, location="https://x.invalid/" + CANARY.decode())).url).set_status(
                "cnv_1", "archived"
            )
        assert CANARY.decode() not in str(error.value)
    assert CANARY.decode() not in caplog.text
