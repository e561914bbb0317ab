"""A token endpoint is silent, hangs up, drips or redirects: each wait ends, and no secret goes elsewhere."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import TokenUnavailable
from shared.front.oauth import TokenEndpoint
from tests.integration.front.peers import Peer, Reply, answer, drip, silence

Peers = Callable[..., Peer]
REFRESH, SECRET = "canary-refresh", "canary-secret"
SECRETS = (REFRESH, SECRET, "Y2FuYXJ5")


def endpoint(url: str) -> TokenEndpoint:
    return TokenEndpoint(url, client_id="canary-app", client_secret=SECRET)


def refused(asked: TokenEndpoint, seconds: float) -> str:
    """Refresh a token and return the text of the error."""
    with pytest.raises(TokenUnavailable) as error:
        asked.refresh(REFRESH, until=time.monotonic() + seconds)
    return "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("script", [silence, b"", drip(answer(body=b"{" + b" " * 4_000))])
def test_an_answer_that_never_ends_is_given_up_and_the_next_one_is_not_waited_for(peer: Peers, script: Reply) -> None:
    server = peer(script if callable(script) else lambda connection: connection.sendall(script))
    asked = endpoint(server.url)
    first, second = refused(asked, 0.5), refused(asked, 60.0)
    assert server.connections == 1
    assert [word for word in SECRETS if word in first + second] == []


def test_nothing_leaves_after_the_last_moment(peer: Peers) -> None:
    server = peer(answer(body=b'{"access_token": "a"}'))
    refused(endpoint(server.url), -0.001)
    assert server.requests == []


def test_an_answer_that_is_far_too_long_is_not_read_to_the_end(peer: Peers) -> None:
    server = peer(answer(body=b'{"access_token": "' + b"a" * 2**20 + b'"}'))
    assert "answered 200" in refused(endpoint(server.url), 10.0)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_takes_neither_secret_nor_token_along(peer: Peers, status: str) -> None:
    stranger = peer(answer(body=b'{"access_token": "a"}'))
    server = peer(answer(status, location=f"{stranger.url}/oauth/token"))
    asked = endpoint(server.url)
    for _ in range(2):  # an answer is no timeout: the endpoint is called again at once
        assert f"answered {status[:3]}" in refused(asked, 10.0)
    assert (len(server.requests), stranger.connections) == (2, 0)


def test_the_environment_adds_neither_a_proxy_nor_a_password(
    peer: Peers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stranger, server = peer(answer(body=b'{"access_token": "a"}')), peer(answer(body=b'{"access_token": "a"}'))
    (tmp_path / "netrc").write_text("default login stray password stray", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, stranger.url)
    endpoint(server.url).refresh(REFRESH, until=time.monotonic() + 10)
    [request] = server.requests
    assert b"Authorization: Basic Y2FuYXJ5LWFwcDpjYW5hcnktc2VjcmV0\r\n" in request
    assert stranger.connections == 0


def test_requests_of_one_thread_share_a_connection(peer: Peers) -> None:
    server = peer(answer(body=b'{"access_token": "a"}', set_cookie="tenant=first; Path=/"))
    asked = endpoint(server.url)
    for _ in range(3):
        asked.refresh(REFRESH, until=time.monotonic() + 10)
    assert (len(server.requests), server.connections) == (3, 1)
    assert b"cookie" not in b"".join(server.requests).lower()
