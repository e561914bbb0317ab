"""The token endpoint answers without tokens: the admin reads the cause, and nothing is connected."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.integration.console.connect.conftest import running_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.console.connect.browser import Browser, Page
    from tests.integration.console.connect.conftest import Site

UNANSWERED = "Front did not answer as it should"


class Endpoint:
    """A token endpoint that gives the configured answer and keeps all requests."""

    def __init__(self) -> None:
        endpoint = self
        self.status, self.body, self.asked = 200, b"{}", dict[str, list[str]]()
        self.hangs, self.released = False, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                endpoint.asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                if endpoint.hangs:
                    endpoint.released.wait(60)
                self.send_response(endpoint.status)
                self.send_header("Content-Length", str(len(endpoint.body)))
                self.end_headers()
                self.wfile.write(endpoint.body)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer_with(self, body: object, status: int = 200) -> None:
        """Give this answer from now on."""
        self.status, self.body = status, body if isinstance(body, bytes) else json.dumps(body).encode()

    def stop(self) -> None:
        """Release all waiting requests and stop listening."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.stop()


@pytest.fixture(scope="module")
def site(
    endpoint: Endpoint, database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A site with this token endpoint in its Front."""
    with running_site(database_url, redis_url, tmp_path_factory.mktemp("site"), FRONT_APP_URL=endpoint.url) as site:
        yield site


def call_back(site: Site, browser: Browser, tenant: str, code: str = "canary-code") -> Page:
    """Open the tenant's link, and call back with this code from Front."""
    [state] = parse_qs(urlsplit(browser.redirect_target(site.link(tenant))).query)["state"]
    return browser.open(f"{site.console.url}/oauth/callback?code={code}&state={state}")


@pytest.mark.parametrize(
    ("status", "body", "code", "title"),
    [
        (400, {"error": "invalid_grant"}, 400, "Front no longer knew of your consent"),
        (401, {"error": "invalid_grant"}, 400, "Front no longer knew of your consent"),
        (401, {"error": "invalid_client"}, 502, "Front does not know this app"),
        (400, {"error": "unauthorized_client"}, 502, "Front does not know this app"),
        # An access token alone expires within the hour
        (200, {"access_token": "canary-access-token"}, 502, "Front gave access for an hour only"),
        (200, {"access_token": "canary-access-token", "refresh_token": ""}, 502, "Front gave access for an hour only"),
        # A token endpoint does not answer like this
        (200, {"refresh_token": "canary-refresh-token"}, 503, UNANSWERED),
        (200, {"access_token": 5, "refresh_token": "canary-refresh-token"}, 503, UNANSWERED),
        (200, b"<html>canary-garbage", 503, UNANSWERED),
        (200, b"\xff\xfe", 503, UNANSWERED),
        (500, {"error": "server_error"}, 503, UNANSWERED),
        (429, {}, 503, UNANSWERED),
        (302, {}, 503, UNANSWERED),
        # Front's API refuses these tokens
        (200, {"access_token": "canary-access-token", "refresh_token": "canary-refresh-token"}, 503, UNANSWERED),
    ],
)
def test_nothing_is_connected_and_the_link_stays_good(
    site: Site, endpoint: Endpoint, browser: Browser, status: int, body: object, code: int, title: str
) -> None:
    tenant, company = site.tenant(), site.company()
    endpoint.answer_with(body, status)
    page = call_back(site, browser, tenant)
    assert (page.status, page.title) == (code, title)
    shown = site.show(tenant)
    assert (shown["connection"], shown["company_id"]) == (None, None)
    assert site.conn.execute("SELECT count(*) FROM connections WHERE tenant_id = %s", (shown["id"],)).fetchone() == (0,)
    assert "canary-" not in site.console.printed()
    endpoint.answer_with({"access_token": f"api-token-of-{company}", "refresh_token": "r"})
    assert call_back(site, browser, tenant).title == "Front is connected"


def test_the_code_goes_in_a_form_with_the_address_it_was_sent_to(
    site: Site, endpoint: Endpoint, browser: Browser
) -> None:
    endpoint.answer_with({"error": "invalid_grant"}, 400)
    call_back(site, browser, site.tenant(), code="a%26b%3D")
    assert endpoint.asked == {
        "grant_type": ["authorization_code"],
        "code": ["a&b="],
        "redirect_uri": [f"{site.console.url}/oauth/callback"],
    }


@pytest.mark.parametrize("form", ["seconds", "milliseconds", "iso", "absent"])
def test_the_expiry_of_a_token_is_read_in_every_form(
    site: Site, endpoint: Endpoint, browser: Browser, form: str
) -> None:
    tenant, company = site.tenant(), site.company()
    end = datetime.now(UTC) + timedelta(minutes=40)
    forms = {"seconds": end.timestamp(), "milliseconds": int(end.timestamp() * 1000), "iso": end.isoformat()}
    given = {"expires_at": forms[form]} if form in forms else {}
    endpoint.answer_with({"access_token": f"api-token-of-{company}", "refresh_token": "r", **given})
    call_back(site, browser, tenant)
    row = site.conn.execute(
        "SELECT expires_at FROM connections WHERE tenant_id = %s", (site.show(tenant)["id"],)
    ).fetchone()
    assert row
    expected = end if given else datetime.now(UTC) + timedelta(hours=1)
    assert abs(row[0] - expected) < timedelta(minutes=2)


def test_while_front_does_not_say_which_company_it_is_nothing_is_connected(
    site: Site, endpoint: Endpoint, browser: Browser
) -> None:
    tenant, company = site.tenant(), site.company()
    endpoint.answer_with({"access_token": f"api-token-of-{company}", "refresh_token": "r"})
    site.fault("403", "^/me$")
    assert call_back(site, browser, tenant).title == UNANSWERED
    assert site.show(tenant)["connection"] is None


def test_an_endpoint_that_hangs_is_given_up(site: Site, endpoint: Endpoint, browser: Browser) -> None:
    """This test is the last of the file: after a timeout the endpoint is not called for some seconds."""
    tenant = site.tenant()
    endpoint.hangs = True
    page = call_back(site, browser, tenant)
    assert (page.status, page.title, len(page.links)) == (503, UNANSWERED, 1)
    assert site.show(tenant)["connection"] is None
