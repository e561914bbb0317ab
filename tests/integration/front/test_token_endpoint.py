"""The token endpoint when it is silent, hangs up or drips: waited for as long as allowed, and not by everybody."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

import pytest

from shared.errors import TokenUnavailable
from shared.front.oauth import TokenEndpoint
from tests.integration.front.peers import Peer, Say, answer, drip, silence

Peers = Callable[..., Peer]
REFRESH, SECRET = "canary-refresh", "canary-secret"
SECRETS = (REFRESH, SECRET, "Y2FuYXJ5")


def endpoint(url: str) -> TokenEndpoint:
    return TokenEndpoint(url, client_id="canary-app", client_secret=SECRET)


def refused(asked: TokenEndpoint, seconds: float) -> str:
    """The whole text of the error that asking ends in."""
    with pytest.raises(TokenUnavailable) as error:
        asked.refresh(REFRESH, until=time.monotonic() + seconds)
    return "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("script", [silence, b"", drip(answer(body=b"{" + b" " * 4_000))])
def test_an_answer_that_never_ends_is_given_up_and_the_next_one_is_not_waited_for(peer: Peers, script: Say) -> None:
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


def test_a_redirect_takes_neither_secret_nor_token_along(peer: Peers) -> None:
    stranger = peer(answer(body=b'{"access_token": "a"}'))
    server = peer(answer("307 Temporary", location=f"{stranger.url}/oauth/token"))
    refused(endpoint(server.url), 10.0)
    assert stranger.connections == 0
