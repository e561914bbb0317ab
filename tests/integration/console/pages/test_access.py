"""Nobody gets in past the rights, the guard of forms, or the limits on log-ins; behind a proxy as without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from console.access.actor import ROLES
from console.web.app import VERBS_OF_PAGES
from tests.integration.console.pages.conftest import PASSWORD, TOKEN, running_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.console.pages.conftest import Site

SENDER, OTHER = "198.51.100.7", "198.51.100.8"
PUBLIC = "https://console.example"


@pytest.fixture(scope="module")
def proxied(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A console behind a proxy that ends TLS: it is reached by plain HTTP, and browsers know it by its public URL."""
    settings = {"PUBLIC_URL": PUBLIC, "TRUSTED_PROXIES": "127.0.0.1, fd00::/8"}
    with running_site(database_url, redis_url, tmp_path_factory.mktemp("proxied"), **settings) as site:
        yield site


class SecureBrowser:
    """A browser that speaks TLS with the proxy, which passes its requests on and adds these headers."""

    def __init__(self, site: Site, **proxy: str) -> None:
        self._site = site
        self._proxy = {"Host": "console.example", **proxy}
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> requests.Response:
        """Send a request with all cookies: `requests` would keep the secure ones back from plain HTTP."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = requests.request(
            method,
            self._site.console.url + path.removeprefix(PUBLIC),
            data=form,
            headers={"Cookie": cookie, **self._proxy, **headers},
            timeout=60,
            allow_redirects=False,
        )
        self.cookies |= {name: str(value) for name, value in answer.cookies.items()}
        return answer

    def submit(self, path: str, form: dict[str, str], *, to: str | None = None) -> requests.Response:
        """Open a page and send its form, to the page's own address or another one."""
        [token] = TOKEN.findall(self.ask("GET", path).text)[:1]
        return self.ask("POST", to or path, {"csrf_token": token, **form}, **{"Sec-Fetch-Site": "same-origin"})


def with_password(site: Site, browser: SecureBrowser, role: str = "admin") -> str:
    """Add somebody who sets a password in this browser, and return their e-mail address."""
    email, link = site.add_account(role)
    assert browser.submit(link, {"password": PASSWORD, "again": PASSWORD}).status_code == 303
    return email


@pytest.mark.parametrize("role", ROLES)
def test_every_refusal_of_a_page_is_in_the_audit(site: Site, role: str) -> None:
    browser = site.logged_in(role)
    [token] = TOKEN.findall(browser.open("/account").text)[:1]
    site.conn.execute("DELETE FROM audit")
    for rule, methods, _ in VERBS_OF_PAGES:
        path = rule.replace("<int:number>", "999999")
        answer = browser.open(path) if "GET" in methods else browser.post(path, {"csrf_token": token})
        assert answer.status_code < 500
    refused = [verb for _, _, verb, allowed in site.audit() if not allowed]
    assert refused == [verb for _, _, verb in VERBS_OF_PAGES if verb not in ROLES[role]]
    addresses = site.conn.execute("SELECT DISTINCT address FROM audit WHERE NOT allowed").fetchall()
    assert addresses == ([("127.0.0.1",)] if refused else [])


@pytest.mark.parametrize("proxy", [{}, {"X-Forwarded-For": SENDER}, {"X-Forwarded-Proto": "https"}])
def test_forms_work_behind_a_proxy_whatever_it_says_of_the_scheme(proxied: Site, proxy: dict[str, str]) -> None:
    browser = SecureBrowser(proxied, **proxy)
    email = with_password(proxied, browser)
    assert email in browser.ask("GET", "/account").text
    assert set(browser.cookies) == {"__Host-mailroom", "__Host-mailroom-login"}
    form = {"old": "wrong", "password": "another good one", "again": "another good one"}
    assert browser.submit("/account", form, to="/account/password").status_code == 422
    assert browser.submit("/account", {}, to="/logout").status_code == 303


def test_the_cookies_are_secure_and_bound_to_the_host_behind_a_proxy(proxied: Site) -> None:
    browser = SecureBrowser(proxied)
    _, link = proxied.add_account()
    assert link.startswith(f"{PUBLIC}/password/")
    cookies = browser.submit(link, {"password": PASSWORD, "again": PASSWORD}).raw.headers.getlist("Set-Cookie")
    [login] = [each for each in cookies if each.startswith("__Host-mailroom-login=")]
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(login.split("; "))
    assert all("Secure" in each.split("; ") and "Domain" not in each for each in cookies)


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": PUBLIC}, True),  # an old browser
        ({"Origin": PUBLIC, "Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "https://console.example.evil.example"}, False),
        ({"Origin": "https://sub.console.example"}, False),
        ({"Origin": "https://example"}, False),
        ({"Origin": "http://console.example"}, False),
        ({"Origin": "https://console.example:8443"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Referer": f"{PUBLIC}/login"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),  # a subdomain
        ({"Sec-Fetch-Site": "none"}, False),
        ({"X-Forwarded-Host": "console.example"}, False),
        ({}, False),  # curl
    ],
)
def test_a_form_must_come_from_our_own_pages(proxied: Site, headers: dict[str, str], passes: bool) -> None:
    browser = SecureBrowser(proxied)
    [token] = TOKEN.findall(browser.ask("GET", "/login").text)[:1]
    proxied.conn.execute("DELETE FROM login_failures")
    answer = browser.ask("POST", "/login", {"csrf_token": token, "email": "x@example.com", "password": "x"}, **headers)
    assert answer.status_code == 403
    assert ("no account has this" in answer.text, "did not come from the console" in answer.text) == (
        passes,
        not passes,
    )


def test_wrong_passwords_count_for_the_sender_and_not_for_the_proxy(proxied: Site) -> None:
    proxied.conn.execute("DELETE FROM login_failures")
    proxied.conn.execute("DELETE FROM audit")
    email = with_password(proxied, SecureBrowser(proxied))

    def log_in(password: str, **proxy: str) -> int:
        form = {"email": email, "password": password}
        return SecureBrowser(proxied, **proxy).submit("/login", form).status_code

    made_up = [log_in("wrong", **{"X-Forwarded-For": f"203.0.113.{n}, {SENDER}"}) for n in range(6)]
    assert made_up == [403] * 5 + [429]
    assert log_in(PASSWORD, **{"X-Forwarded-For": f"{OTHER}, {SENDER}:4711"}) == 429
    assert log_in(PASSWORD, Forwarded=f'for="{OTHER}, for={SENDER};proto=https') == 429
    assert log_in(PASSWORD, **{"X-Forwarded-For": f"{SENDER}, {OTHER}"}) == 303
    assert log_in(PASSWORD, **{"X-Forwarded-For": f"{SENDER}, {OTHER}, fd00::17"}) == 303
    entries = proxied.conn.execute(
        "SELECT DISTINCT address, allowed FROM audit WHERE verb = 'log_in' ORDER BY 1, 2"
    ).fetchall()
    assert entries == [(SENDER, False), (OTHER, True)]


def test_without_trusted_proxies_nobody_makes_up_an_address(site: Site) -> None:
    site.conn.execute("DELETE FROM login_failures")
    email, link = site.add_account()
    site.browser().submit(link, password=PASSWORD, again=PASSWORD)
    statuses = []
    for number in range(6):
        browser = site.browser()
        browser.session.headers["X-Forwarded-For"] = browser.session.headers["Forwarded"] = f"203.0.113.{number}"
        statuses.append(browser.submit("/login", email=email, password="wrong").status_code)
    assert statuses == [403] * 5 + [429]
    site.conn.execute("DELETE FROM login_failures")


def test_the_audit_page_and_the_api_name_the_sender(proxied: Site) -> None:
    browser = SecureBrowser(proxied, **{"X-Forwarded-For": SENDER})
    with_password(proxied, browser)
    assert f"from {SENDER}" in browser.ask("GET", "/audit").text
    token = proxied.mailroom("api-token", "create", "reader of the audit").stdout.strip()
    answer = requests.get(
        f"{proxied.console.url}/api/v1/audit?verb=set_password",
        headers={"Authorization": f"Bearer {token}", "Host": "console.example"},
        timeout=60,
    )
    assert answer.json()["entries"][0]["address"] == SENDER
