"""Customers and operators have hosts of their own: each answers for its own pages, and tells nothing of the other's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from console.web.app import Apps, create_apps, host_of
from tests.unit.web.conftest import UnavailablePool, resources_for

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

CONSOLE, CONNECT, OTHER = "console.example", "connect.example", "10.1.2.3:8081"
EVERYWHERE = {"/livez", "/readyz", "/static/mailroom.css"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module")
def apps() -> Apps:
    return create_apps(resources_for(public_url=f"https://{CONSOLE}", connect_url=f"https://{CONNECT}"))


def of(apps: Apps, host: str) -> Flask:
    return apps.of({"HTTP_HOST": host})


def ask(apps: Apps, host: str, path: str, method: str = "GET") -> TestResponse:
    return of(apps, host).test_client().open(path, method=method, base_url=f"https://{host}")


def paths_of(app: Flask) -> set[str]:
    """Return an address for each route."""
    return {re.sub(r"<(int:)?[^>]*>", "1", rule.rule) for rule in app.url_map.iter_rules()}


@pytest.mark.parametrize(
    ("host", "of_others"), [(CONNECT, CONSOLE), (CONSOLE, CONNECT), (OTHER, CONSOLE), (OTHER, CONNECT)]
)
def test_the_pages_of_another_host_are_unknown(apps: Apps, host: str, of_others: str) -> None:
    theirs = paths_of(of(apps, of_others)) - EVERYWHERE - paths_of(of(apps, host))
    assert len(theirs) >= 3
    unknown = ask(apps, host, "/no/such/page")
    for path in sorted(theirs):
        for method in METHODS:
            answer = ask(apps, host, path, method)
            assert (path, method, answer.status_code) == (path, method, 404)
            if host != CONSOLE:
                assert (path, answer.data, dict(answer.headers)) == (path, unknown.data, dict(unknown.headers))


def test_each_host_has_its_own_pages(apps: Apps) -> None:
    assert paths_of(of(apps, CONNECT)) == {"/connect/1", "/oauth/callback", "/connected"} | EVERYWHERE
    assert paths_of(of(apps, OTHER)) == EVERYWHERE
    assert {"/login", "/tenants", "/api/v1/tenants"} <= paths_of(of(apps, CONSOLE))


@pytest.mark.parametrize("host", [CONSOLE, CONNECT, OTHER, ""])
def test_every_host_tells_its_health(apps: Apps, host: str) -> None:
    client = of(apps, host).test_client()
    assert (client.get("/livez").status_code, client.get("/readyz").status_code) == (200, 503)


@pytest.mark.parametrize("host", [CONSOLE, CONNECT])
def test_each_host_has_a_cookie_and_a_policy_of_its_own(apps: Apps, host: str) -> None:
    app = of(apps, host)
    assert (app.config["SESSION_COOKIE_NAME"], app.config["SESSION_COOKIE_DOMAIN"]) == ("__Host-mailroom", None)
    headers = ask(apps, host, "/no/such/page").headers
    assert "form-action 'self'" in headers["Content-Security-Policy"]
    assert ("Strict-Transport-Security" in headers, headers["X-Content-Type-Options"]) == (True, "nosniff")
    with ask(apps, host, "/static/mailroom.css") as style:
        assert style.mimetype == "text/css"


def test_customers_get_no_file_of_the_console(apps: Apps) -> None:
    for name in ("console.js", "console.css", "vendor/htmx.min.js", "../templates/base.html"):
        assert ask(apps, CONNECT, f"/static/{name}").status_code == 404


def test_a_host_is_found_in_any_case_and_with_the_known_port(apps: Apps) -> None:
    assert of(apps, CONNECT.upper()) is of(apps, CONNECT)
    assert host_of("https://Mail.example:443") == host_of("https://mail.example") == "mail.example"
    assert host_of("http://localhost:8081") == "localhost:8081"


@pytest.mark.parametrize("connect_url", ["", f"https://{CONSOLE}"])
def test_without_a_second_host_one_application_answers_for_all(connect_url: str) -> None:
    apps = create_apps(resources_for(public_url=f"https://{CONSOLE}", connect_url=connect_url))
    assert of(apps, CONSOLE) is of(apps, OTHER)
    assert {"/connect/1", "/login", "/api/v1/tenants"} <= paths_of(of(apps, OTHER))


def test_front_sends_browsers_back_to_the_connect_host() -> None:
    from console.web.connect import redirect_uri

    resources = resources_for(UnavailablePool(), public_url=f"https://{CONSOLE}", connect_url=f"https://{CONNECT}")
    assert redirect_uri(resources.settings) == f"https://{CONNECT}/oauth/callback"
