"""OAuth in the sandbox: consent, denial, code, refresh, rotation, expiry, revocation."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from tests.integration.sandbox.conftest import Client, Start

BACK = "http://127.0.0.1:9/oauth/callback"
APP = ("sandbox-client", "sandbox-client-secret")


class Form(HTMLParser):
    """The fields of the one form on a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str | None] = {}
        self.decisions: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "input":
            self.fields[named["name"] or ""] = named["value"]
        elif tag == "option":
            self.fields["company"] = named["value"]
        elif tag == "button":
            self.decisions.append(named["value"])


def decide(client: Client, decision: str) -> dict[str, list[str]]:
    """Open the consent page, press a button, and return the parameters of the callback."""
    ask = {"response_type": "code", "client_id": APP[0], "redirect_uri": BACK, "state": 'a"b&c'}
    page = client.session.get(f"{client.running.url}/oauth/authorize", params=ask)
    form = Form(page.text)
    assert form.decisions == ["allow", "deny"]
    answer = client.session.get(
        f"{client.running.url}/oauth/consent",
        params={**form.fields, "decision": decision},
        allow_redirects=False,
    )
    assert answer.status_code == 302
    location = urlsplit(answer.headers["Location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == BACK
    return parse_qs(location.query)


def exchange(client: Client, *, auth: Any = APP, **form: Any) -> requests.Response:
    return client.session.post(f"{client.running.url}/oauth/token", data=form, auth=auth)


def tokens(client: Client) -> Any:
    [code] = decide(client, "allow")["code"]
    return exchange(client, grant_type="authorization_code", code=code, redirect_uri=BACK).json()


def test_consent_gives_a_code_and_the_code_gives_tokens_once(client: Client) -> None:
    back = decide(client, "allow")
    assert back["state"] == ['a"b&c']
    form = {"grant_type": "authorization_code", "code": back["code"][0], "redirect_uri": BACK}
    granted = exchange(client, **form).json()
    assert set(granted) == {"access_token", "refresh_token", "expires_at", "token_type"}
    assert client.call("GET", "/me", token=granted["access_token"]).json()["id"] == "cmp_kettle"
    again = exchange(client, **form)
    assert (again.status_code, again.json()) == (400, {"error": "invalid_grant"})


def test_denial_comes_back_without_a_code(client: Client) -> None:
    assert decide(client, "deny") == {"error": ["access_denied"], "state": ['a"b&c']}


def test_the_app_must_know_its_secret(client: Client) -> None:
    answer = exchange(client, auth=(APP[0], "guess"), grant_type="refresh_token", refresh_token="x")
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"})


def test_a_code_is_for_the_address_it_was_sent_to(client: Client) -> None:
    [code] = decide(client, "allow")["code"]
    answer = exchange(client, grant_type="authorization_code", code=code, redirect_uri=f"{BACK}/other")
    assert answer.json() == {"error": "invalid_grant"}


@pytest.mark.parametrize("rotate", [False, True])
def test_a_refresh_keeps_or_replaces_its_token(rotate: bool, start: Start) -> None:
    client = start(rotate_refresh_tokens=rotate)
    first = tokens(client)["refresh_token"]
    second = exchange(client, grant_type="refresh_token", refresh_token=first).json()
    assert (second["refresh_token"] != first) is rotate
    again = exchange(client, grant_type="refresh_token", refresh_token=first)
    assert again.status_code == (400 if rotate else 200)


def test_an_expired_token_is_401_until_it_is_refreshed(client: Client) -> None:
    granted = tokens(client)
    client.control("POST", "/companies/cmp_kettle/tokens", do="expire")
    assert client.call("GET", "/me", token=granted["access_token"]).status_code == 401
    fresh = exchange(client, grant_type="refresh_token", refresh_token=granted["refresh_token"]).json()
    assert client.call("GET", "/me", token=fresh["access_token"]).status_code == 200


def test_after_revocation_nothing_works_and_restoring_brings_the_api_token_back(client: Client) -> None:
    granted = tokens(client)
    client.control("POST", "/companies/cmp_kettle/tokens", do="revoke")
    refused = exchange(client, grant_type="refresh_token", refresh_token=granted["refresh_token"])
    assert refused.json() == {"error": "invalid_grant"}
    assert client.call("GET", "/me").status_code == 401
    client.control("POST", "/companies/cmp_kettle/tokens", do="restore")
    assert client.call("GET", "/me").status_code == 200


REFUSALS = [
    # kind, status, body
    (
        "refresh_400_error",
        400,
        {"_error": {"status": 400, "title": "Bad request", "message": "Invalid refresh token"}},
    ),
    ("refresh_400_invalid_grant", 400, {"error": "invalid_grant"}),
    ("refresh_400_invalid_request", 400, {"error": "invalid_request"}),
    ("refresh_401_invalid_grant", 401, {"error": "invalid_grant"}),
    ("refresh_401_empty", 401, None),
    ("refresh_200_invalid_grant", 200, {"error": "invalid_grant"}),
]


def by_rule(client: Client, kind: str) -> None:
    client.fault(kind, company="cmp_kettle")


def by_webhook(client: Client, kind: str) -> None:
    client.send(fault=kind)


@pytest.mark.parametrize("ask", [by_rule, by_webhook])
@pytest.mark.parametrize(("kind", "status", "body"), REFUSALS)
def test_a_refresh_is_refused_in_every_form_and_a_new_consent_is_not(
    kind: str, status: int, body: object, ask: Callable[[Client, str], None], client: Client
) -> None:
    refresh_token = tokens(client)["refresh_token"]
    ask(client, kind)
    for _ in range(2):
        refused = exchange(client, grant_type="refresh_token", refresh_token=refresh_token)
        assert refused.status_code == status
        assert (refused.json() if refused.content else None) == body
    assert "access_token" in tokens(client)
    client.control("DELETE", "/faults")
    assert "access_token" in exchange(client, grant_type="refresh_token", refresh_token=refresh_token).json()


def test_refused_refreshes_come_with_expired_tokens_when_a_webhook_asks_for_them(client: Client) -> None:
    granted = tokens(client)
    client.fault("refresh_401_empty")
    assert client.call("GET", "/me", token=granted["access_token"]).status_code == 200
    client.send(fault="refresh_401_empty")
    assert client.call("GET", "/me", token=granted["access_token"]).status_code == 401
    assert client.call("GET", "/me").status_code == 200  # with the API token


def test_refreshes_of_one_company_are_refused_and_those_of_others_are_not(client: Client) -> None:
    refresh_token = tokens(client)["refresh_token"]
    client.fault("refresh_400_error", company="cmp_other")
    assert exchange(client, grant_type="refresh_token", refresh_token=refresh_token).status_code == 200


def test_a_change_by_an_app_is_marked_as_such(client: Client) -> None:
    [event] = client.send()
    path = f"/conversations/{event['conversation_id']}"
    token = tokens(client)["access_token"]
    client.call("PATCH", path, token=token, json={"status": "deleted"})
    newest = client.call("GET", f"{path}/events").json()["_results"][0]
    assert (newest["type"], newest["source"]["_meta"]["type"]) == ("trash", "oauth_client")
