"""The consent page's URL, and the requests to the token endpoint with their results and errors."""

from __future__ import annotations

import base64
import time
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
import responses

from shared.errors import MailroomError, NeedsReconnect, TokenUnavailable
from shared.front.oauth import (
    AppUnknown,
    CodeRefused,
    NoRefreshToken,
    TokenEndpoint,
    UnclearRefusal,
    authorization_url,
)
from shared.models import Tokens

APP = "https://app.frontapp.com"
URL = f"{APP}/oauth/token"
REFRESH, CODE = "canary-refresh/+= token", "canary-code/+= &"
CALLBACK = "https://console.example/oauth/callback"


def endpoint(client_id: str = "the-app", client_secret: str = "canary-secret", *, app_url: str = APP) -> TokenEndpoint:
    return TokenEndpoint(app_url, client_id=client_id, client_secret=client_secret)


def refresh(asked: TokenEndpoint | None = None, refresh_token: str = REFRESH) -> Tokens:
    return (asked or endpoint()).refresh(refresh_token, until=time.monotonic() + 5)


def exchange(asked: TokenEndpoint | None = None) -> Tokens:
    return (asked or endpoint()).exchange(CODE, redirect_uri=CALLBACK, until=time.monotonic() + 5)


def form(request: Any) -> dict[str, str]:
    return dict(parse_qsl(request.body, strict_parsing=True))


@pytest.mark.parametrize("app_url", [APP, "http://127.0.0.1:8082", "http://localhost:8082/front", f"{APP}/"])
def test_the_consent_url_is_fronts_with_our_redirect_uri(app_url: str) -> None:
    url = authorization_url(app_url, client_id="the app", redirect_uri=CALLBACK, state="s-_t")
    assert url == (
        f"{app_url.rstrip('/')}/oauth/authorize?response_type=code&client_id=the+app"
        "&redirect_uri=https%3A%2F%2Fconsole.example%2Foauth%2Fcallback&state=s-_t"
    )


def test_the_app_is_sent_in_the_header_and_the_refresh_token_in_a_form(front: responses.RequestsMock) -> None:
    asked = [
        responses.matchers.header_matcher({"Authorization": "Basic dGhlLWFwcDpjYW5hcnktc2VjcmV0"}),
        responses.matchers.urlencoded_params_matcher({"grant_type": "refresh_token", "refresh_token": REFRESH}),
    ]
    front.post(URL, json={"access_token": "a", "refresh_token": "r", "expires_at": 0}, match=asked)
    assert (refresh().access_token, refresh().refresh_token) == ("a", "r")


def test_a_code_is_exchanged_with_its_redirect_uri(front: responses.RequestsMock) -> None:
    front.post(URL, json={"access_token": "a", "refresh_token": "r"})
    assert exchange().refresh_token == "r"
    [(request, _)] = front.calls
    assert form(request) == {"grant_type": "authorization_code", "code": CODE, "redirect_uri": CALLBACK}
    assert request.headers["Authorization"] == "Basic dGhlLWFwcDpjYW5hcnktc2VjcmV0"


def test_an_app_may_have_a_name_in_any_script(front: responses.RequestsMock) -> None:
    front.post(URL, json={"access_token": "a"})
    refresh(endpoint("приложение", "ключ:€"))
    scheme, _, sent = front.calls[0].request.headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(sent).decode()) == ("Basic", "приложение:ключ:€")


def test_new_tokens_have_an_expiry(front: responses.RequestsMock) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=30)
    front.post(URL, json={"access_token": "a", "refresh_token": "r", "expires_at": ends.timestamp()})
    assert refresh() == Tokens(access_token="a", refresh_token="r", expires_at=ends)


@pytest.mark.parametrize("fields", [{}, {"refresh_token": None}, {"refresh_token": ""}, {"refresh_token": "\ud800"}])
def test_without_a_new_refresh_token_the_old_one_is_kept(front: responses.RequestsMock, fields: dict[str, Any]) -> None:
    front.post(URL, json={"access_token": "a", **fields})
    assert refresh().refresh_token == REFRESH


@pytest.mark.parametrize(
    "fields", [{}, {"refresh_token": None}, {"refresh_token": ""}, {"refresh_token": "with space"}]
)
def test_a_consent_without_a_refresh_token_is_an_error(front: responses.RequestsMock, fields: dict[str, Any]) -> None:
    front.post(URL, json={"access_token": "canary", **fields})
    with pytest.raises(NoRefreshToken) as raised:
        exchange()
    assert "canary" not in "".join(traceback.format_exception(raised.value))


def test_nothing_of_one_tenant_is_kept_for_the_next(front: responses.RequestsMock) -> None:
    front.post(URL, json={"access_token": "a", "refresh_token": "r"}, headers={"Set-Cookie": "tenant=first"})
    front.post(URL, json={"access_token": "b"})
    asked = endpoint()
    refresh(asked, "first")
    assert refresh(asked, "second").refresh_token == "second"
    request = front.calls[1].request
    assert form(request) == {"grant_type": "refresh_token", "refresh_token": "second"}
    assert "Cookie" not in request.headers
    assert request.headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    "odd",
    [
        {"scope": "private:me shared:conversations"},
        {"scope": None},
        {"scope": 5},
        {"scope": ["shared:*"]},
        {"token_type": "mac"},
        {"token_type": None},
        {"expires_in": "soon"},
        {"expires_in": "3600.0"},
        {"expires_in": [3600]},
        {"expires_in": 1e400},
        {"expires_at": "tomorrow"},
        {"expires_at": {"seconds": 5}},
        {"error": "", "error_description": "none"},
    ],
)
def test_the_tokens_are_read_from_an_answer_with_odd_fields(
    front: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    monkeypatch.setenv("OAUTHLIB_STRICT_TOKEN_TYPE", "1")
    front.post(URL, json={"access_token": "a", "refresh_token": "r", **odd})
    for tokens in (refresh(), exchange()):
        assert (tokens.access_token, tokens.refresh_token) == ("a", "r")
        assert timedelta(minutes=59) < tokens.expires_at - datetime.now(UTC) <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        # Front was seen to send either status
        (400, {"error": "invalid_grant"}, NeedsReconnect),
        (401, {"error": "invalid_grant"}, NeedsReconnect),
        (400, {"error": "invalid_grant", "access_token": "canary-token"}, NeedsReconnect),
        # A mistake of the operator or a failure of Front is no reason for a tenant to reconnect
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
        (400, {"error": {"code": "invalid_grant"}}, TokenUnavailable),
        (500, {"access_token": "canary-token", "refresh_token": "canary"}, TokenUnavailable),
        # The answer does not come from a token endpoint
        (200, {}, TokenUnavailable),
        (200, None, TokenUnavailable),
        (200, {"error": "invalid_grant", "error_description": "canary"}, NeedsReconnect),
        (200, {"error": "invalid_grant", "access_token": "canary-token"}, NeedsReconnect),
        (503, {"error": "invalid_grant"}, NeedsReconnect),
        (200, {"error": "invalid_client"}, TokenUnavailable),
        (200, {"access_token": ""}, TokenUnavailable),
        (200, {"access_token": "with space"}, TokenUnavailable),
        (200, {"access_token": 5}, TokenUnavailable),
    ],
)
def test_only_a_refused_refresh_token_requires_a_reconnect(
    front: responses.RequestsMock, status: int, body: Any, error: type[MailroomError]
) -> None:
    front.post(URL, json=body, status=status, headers={"Location": "https://elsewhere.example/"})
    with pytest.raises(error) as raised:
        refresh()
    assert type(raised.value) in {error, AppUnknown, UnclearRefusal}
    assert "canary" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("status", "body", "is_refusal"),
    [
        (400, {"_error": {"status": 400, "title": "Bad request", "message": "Invalid refresh token"}}, True),
        (400, {"error": "invalid_request"}, True),
        (401, None, True),
        (403, ["forbidden"], True),
        (404, {}, True),
        (422, {"error": {"code": "canary"}}, True),
        (200, {"error": "access_denied"}, True),
        (200, {"token": "canary"}, True),
        # Front's trouble, or the operator's
        (408, {}, False),
        (429, {"error": "slow_down"}, False),
        (500, {"error": "server_error"}, False),
        (302, {}, False),
        (200, ["no object"], False),
        (401, {"error": "invalid_client"}, False),
    ],
)
def test_a_refusal_without_a_clear_reason_is_told_from_an_outage(
    front: responses.RequestsMock, status: int, body: Any, is_refusal: bool
) -> None:
    front.post(URL, json=body, status=status)
    with pytest.raises(TokenUnavailable) as raised:
        refresh()
    assert isinstance(raised.value, UnclearRefusal) is is_refusal
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("body", [b"<html>canary</html>", b"access_token=canary&token_type=Bearer", b"\xff\xfe", b"["])
@pytest.mark.parametrize("status", [200, 502])
def test_an_answer_without_json_is_an_error(front: responses.RequestsMock, status: int, body: bytes) -> None:
    front.post(URL, body=body, status=status)
    with pytest.raises(TokenUnavailable, match=f"Front answered {status} to POST /oauth/token") as raised:
        refresh()
    assert "canary" not in "".join(traceback.format_exception(raised.value))


def test_a_refused_code_requires_no_reconnect(front: responses.RequestsMock) -> None:
    front.post(URL, json={"error": "invalid_grant", "error_description": CODE}, status=400)
    with pytest.raises(CodeRefused) as raised:
        exchange()
    assert "canary" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "app_url", ["app.frontapp.com", "ftp://app.frontapp.com", "https://", "https://..", "https://[:"]
)
def test_an_unusable_app_url_is_an_unavailable_endpoint(app_url: str) -> None:
    with pytest.raises(TokenUnavailable, match="POST /oauth/token broke off"):
        refresh(endpoint(app_url=app_url))


def test_no_secret_is_logged_at_debug(front: responses.RequestsMock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    front.post(URL, json={"access_token": "canary-access", "refresh_token": "canary-newer"})
    refresh()
    exchange()
    assert "canary" not in caplog.text
    assert "Y2FuYXJ5" not in caplog.text


def test_a_retry_after_of_the_token_endpoint_is_kept(front: responses.RequestsMock) -> None:
    front.post(URL, status=429, headers={"Retry-After": "77"})
    with pytest.raises(TokenUnavailable) as raised:
        refresh()
    assert raised.value.retry_after == 77


@pytest.mark.parametrize(("client_id", "client_secret"), [("", "s"), ("i", "")])
def test_an_app_without_a_name_or_a_secret_is_not_sent(
    front: responses.RequestsMock, client_id: str, client_secret: str
) -> None:
    with pytest.raises(TokenUnavailable, match="FRONT_CLIENT_ID and FRONT_CLIENT_SECRET are not set"):
        refresh(endpoint(client_id, client_secret))
    assert not front.calls


def test_the_repr_of_tokens_shows_no_token() -> None:
    assert "canary" not in repr(Tokens(access_token="canary", refresh_token="canary", expires_at=datetime.now(UTC)))
