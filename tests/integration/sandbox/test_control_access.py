"""The control API refuses what a page of another site could send through a browser on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import requests

    from tests.integration.sandbox.conftest import Client

COMPANY = {"id": "cmp_new", "name": "New"}


def create(client: Client, **headers: str) -> requests.Response:
    url = f"{client.running.url}/sandbox/companies"
    named = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return client.session.post(url, data=json.dumps(COMPANY), headers=named)


def exists(client: Client) -> bool:
    return "cmp_new" in {each["id"] for each in client.control("GET", "/companies")["companies"]}


@pytest.mark.parametrize(
    "host", ["front.example", "evil.example:{port}", "127.0.0.1.evil.example", "10.0.0.7", "[", "a:b"]
)
def test_a_foreign_host_is_refused(host: str, client: Client) -> None:
    answer = create(client, Host=host.format(port=client.running.port))
    assert (answer.status_code, exists(client)) == (403, False)
    assert "Host" in answer.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "LOCALHOST", "127.0.0.2"])
def test_the_names_of_this_machine_are_taken(host: str, client: Client) -> None:
    answer = create(client, Host=host.format(port=client.running.port))
    assert (answer.status_code, exists(client)) == (200, True)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "https://127.0.0.1:{port}",
        "http://[",
    ],
)
def test_a_foreign_origin_is_refused(origin: str, client: Client) -> None:
    answer = create(client, Origin=origin.format(port=client.running.port))
    assert (answer.status_code, exists(client)) == (403, False)
    assert "Origin" in answer.json()["error"]


@pytest.mark.parametrize("origin", ["http://127.0.0.1:{port}", "http://localhost:{port}"])
def test_its_own_origin_is_taken(origin: str, client: Client) -> None:
    assert create(client, Origin=origin.format(port=client.running.port)).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonp"],
)
def test_a_body_that_is_not_json_is_refused(content_type: str, client: Client) -> None:
    answer = create(client, Content_Type=content_type)
    assert (answer.status_code, exists(client)) == (415, False)


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_taken_in_any_spelling(content_type: str, client: Client) -> None:
    assert create(client, Content_Type=content_type).status_code == 200


def test_a_request_without_a_body_needs_no_type_but_the_right_origin(client: Client) -> None:
    url = f"{client.running.url}/sandbox/reset"
    assert client.session.post(url, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.call("GET", "/me").status_code == 200
    assert client.session.post(url).status_code == 200
    assert client.call("GET", "/me").status_code == 401


def test_reading_is_refused_to_a_foreign_host_too(client: Client) -> None:
    answer = client.session.get(f"{client.running.url}/sandbox/companies", headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert client.company["api_token"] not in answer.text


def test_fronts_api_answers_under_any_host(client: Client) -> None:
    headers = {"Host": "blue_kettle.api.frontapp.com", "Authorization": f"Bearer {client.company['api_token']}"}
    assert client.session.get(f"{client.running.url}/me", headers=headers).status_code == 200
