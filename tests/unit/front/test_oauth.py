"""The token endpoint: what is sent there, and what its answers mean."""

from __future__ import annotations

import time
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import responses

from shared.errors import MailroomError, NeedsReconnect, TokenUnavailable
from shared.front.oauth import TokenEndpoint
from shared.models import Tokens

APP = "https://app.frontapp.com"
URL = f"{APP}/oauth/token"
REFRESH = "canary-refresh/+= token"


def refresh(client_id: str = "the-app", client_secret: str = "canary-secret") -> Tokens:
    endpoint = TokenEndpoint(APP, client_id=client_id, client_secret=client_secret)
    return endpoint.refresh(REFRESH, until=time.monotonic() + 5)


def test_the_app_names_itself_in_the_header_and_the_refresh_token_in_a_form(front: responses.RequestsMock) -> None:
    asked = [
        responses.matchers.header_matcher({"Authorization": "Basic dGhlLWFwcDpjYW5hcnktc2VjcmV0"}),
        responses.matchers.urlencoded_params_matcher({"grant_type": "refresh_token", "refresh_token": REFRESH}),
    ]
    front.post(URL, json={"access_token": "a", "refresh_token": "r", "expires_at": 0}, match=asked)
    assert (refresh().access_token, refresh().refresh_token) == ("a", "r")


def test_new_tokens_come_with_their_end(front: responses.RequestsMock) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=30)
    front.post(URL, json={"access_token": "a", "refresh_token": "r", "expires_at": ends.timestamp()})
    assert refresh() == Tokens(access_token="a", refresh_token="r", expires_at=ends)


@pytest.mark.parametrize("newer", [{}, {"refresh_token": None}, {"refresh_token": ""}, {"refresh_token": "\ud800"}])
def test_without_a_new_refresh_token_the_old_one_stays(front: responses.RequestsMock, newer: dict[str, Any]) -> None:
    front.post(URL, json={"access_token": "a", **newer})
    assert refresh().refresh_token == REFRESH


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        # Both statuses were seen
        (400, {"error": "invalid_grant"}, NeedsReconnect),
        (401, {"error": "invalid_grant"}, NeedsReconnect),
        # The operator's mistake, or Front's trouble: no reason for a tenant to connect anew
        (401, {"error": "invalid_client"}, TokenUnavailable),
        (400, {"error": "unauthorized_client"}, TokenUnavailable),
        (400, {"error": "invalid_request"}, TokenUnavailable),
        (401, {"_error": {"status": 401}}, TokenUnavailable),
        (403, ["forbidden"], TokenUnavailable),
        (404, {}, TokenUnavailable),
        (429, {}, TokenUnavailable),
        (500, {"error": "server_error"}, TokenUnavailable),
        (503, None, TokenUnavailable),
        (302, {}, TokenUnavailable),
        # Not the wording of a token endpoint
        (200, {}, TokenUnavailable),
        (200, None, TokenUnavailable),
        (200, {"access_token": ""}, TokenUnavailable),
        (200, {"access_token": "with space"}, TokenUnavailable),
        (200, {"access_token": 5}, TokenUnavailable),
    ],
)
def test_only_a_refused_refresh_token_is_a_reason_to_connect_anew(
    front: responses.RequestsMock, status: int, body: Any, error: type[MailroomError]
) -> None:
    front.post(URL, json=body, status=status, headers={"Location": "https://elsewhere.example/"})
    with pytest.raises(error) as raised:
        refresh()
    assert "canary" not in "".join(traceback.format_exception(raised.value))


def test_what_front_asks_to_wait_is_waited(front: responses.RequestsMock) -> None:
    front.post(URL, status=429, headers={"Retry-After": "77"})
    with pytest.raises(TokenUnavailable) as raised:
        refresh()
    assert raised.value.retry_after == 77


@pytest.mark.parametrize(("client_id", "client_secret"), [("", "s"), ("i", "")])
def test_an_app_without_a_name_or_a_secret_is_not_sent(
    front: responses.RequestsMock, client_id: str, client_secret: str
) -> None:
    with pytest.raises(TokenUnavailable, match="FRONT_CLIENT_ID and FRONT_CLIENT_SECRET are not set"):
        refresh(client_id, client_secret)
    assert not front.calls


def test_tokens_do_not_print_themselves() -> None:
    assert "canary" not in repr(Tokens(access_token="canary", refresh_token="canary", expires_at=datetime.now(UTC)))
