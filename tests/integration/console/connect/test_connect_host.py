"""Customers connect at a host of their own, and find nothing of the console there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from bench.harness.ports import free_port
from tests.integration.console.connect.browser import Browser
from tests.integration.console.connect.conftest import running_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.console.connect.conftest import Site


@pytest.fixture(scope="module")
def site(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A console that operators reach as 127.0.0.1 and customers as localhost."""
    port = free_port()
    hosts = {"CONSOLE_PORT": str(port), "CONNECT_URL": f"http://localhost:{port}"}
    with running_site(database_url, redis_url, tmp_path_factory.mktemp("hosts"), **hosts) as site:
        yield site


def test_a_customer_connects_at_the_connect_host(site: Site, browser: Browser) -> None:
    tenant, company = site.tenant(), site.company()
    link = site.link(tenant)
    connect = site.environment["CONNECT_URL"]
    assert link.startswith(f"{connect}/connect/")
    assert f"redirect_uri={connect}".replace(":", "%3A").replace("/", "%2F") in browser.redirect_target(link)
    page = browser.allow(link, company)
    assert (page.status, page.address) == (200, f"{connect}/connected")
    assert site.show(tenant)["company_id"] == company


def test_a_link_is_unknown_at_the_consoles_host(site: Site) -> None:
    link = site.link(site.tenant())
    answer = requests.get(link.replace("localhost", "127.0.0.1"), timeout=60)
    assert (answer.status_code, "There is no page here" in answer.text) == (404, True)
    assert requests.get(link, timeout=60).status_code == 200


def test_a_form_of_the_consoles_host_connects_nobody(site: Site, browser: Browser) -> None:
    page = browser.open(site.link(site.tenant()))
    assert browser.submit(page, Origin=site.console.url, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    assert browser.submit(page, Origin=site.console.url).status == 403


def test_the_console_and_its_api_are_unknown_at_the_connect_host(site: Site) -> None:
    token = site.mailroom("api-token", "create", "everything", "--scope", "write").stdout.strip()
    connect, bearer = str(site.environment["CONNECT_URL"]), {"Authorization": f"Bearer {token}"}
    for path in ("/login", "/", "/api/v1/tenants", "/api/openapi.json", "/api/docs", "/static/console.js"):
        there = requests.get(f"{connect}{path}", headers=bearer, timeout=60, allow_redirects=False)
        assert (path, there.status_code, there.headers["Content-Type"]) == (path, 404, "text/html; charset=utf-8")
        assert "X-Request-ID" not in there.headers
        here = requests.get(f"{site.console.url}{path}", headers=bearer, timeout=60, allow_redirects=False)
        assert (path, here.status_code != 404) == (path, True)


def test_health_is_told_at_any_host(site: Site) -> None:
    for host in ("localhost", "127.0.0.1", "10.1.2.3", "probe"):
        for path in ("/livez", "/readyz"):
            assert requests.get(f"{site.console.url}{path}", headers={"Host": host}, timeout=60).status_code == 200
    assert requests.get(f"{site.console.url}/login", headers={"Host": "probe"}, timeout=60).status_code == 404
