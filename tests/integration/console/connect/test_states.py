"""A state from Front is valid once, in time, and in the browser that was sent there. It is never logged."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.db.tenants.consent import MOST_STATES
from tests.integration.console.connect.browser import Browser

if TYPE_CHECKING:
    from tests.integration.console.connect.conftest import Site

ONCE = "This page can be opened once only"


def state_of(address: str) -> str:
    [state] = parse_qs(urlsplit(address).query)["state"]
    return state


def test_the_way_to_front_names_the_app_the_way_back_and_a_state(site: Site, browser: Browser) -> None:
    to_front = urlsplit(browser.redirect_target(site.link(site.tenant())))
    asked = parse_qs(to_front.query)
    assert f"{to_front.scheme}://{to_front.netloc}{to_front.path}" == f"{site.front.url}/oauth/authorize"
    assert (asked["response_type"], asked["client_id"]) == (["code"], ["the-app"])
    assert asked["redirect_uri"] == [f"{site.console.url}/oauth/callback"]
    assert len(asked["state"][0]) >= 43


def test_a_state_works_once(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    back = browser.decide(browser.begin(site.link(tenant)), company)
    browser.open(back)
    page = Browser().open(back)
    assert (page.status, page.title) == (400, ONCE)
    assert site.show(tenant)["connection_version"] == 1


def test_a_browser_that_comes_back_again_sees_what_it_connected(site: Site, browser: Browser) -> None:
    """By a reload, by the back button, or in a tab that the browser opens again."""
    company, tenant = site.company(), site.tenant()
    back = browser.decide(browser.begin(site.link(tenant)), company)
    for _ in range(3):
        page = browser.open(back)
        assert (page.status, page.title, page.address) == (200, "Front is connected", f"{site.console.url}/connected")
        assert company in page.text
    assert site.show(tenant)["connection_version"] == 1


def test_a_denied_state_cannot_be_used_with_a_code(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    back = browser.decide(browser.begin(site.link(tenant)), company, allow=False)
    browser.open(back)
    code = site.front.front.grants.issue_code(company, f"{site.console.url}/oauth/callback", site.front.front.now())
    assert browser.open(f"{back}&code={code}").title == ONCE
    assert site.show(tenant)["connection"] is None


def test_a_state_works_in_the_browser_that_was_sent_to_front_alone(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    back = browser.decide(browser.begin(site.link(tenant)), company)
    stranger = Browser()
    page = stranger.open(back)
    assert (page.status, page.title, page.links) == (400, "You began in another browser", [])
    assert browser.open(back).title == ONCE  # the other browser has used up this state
    assert site.show(tenant)["connection"] is None


def test_a_state_is_good_for_ten_minutes(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    link = site.link(tenant)
    back = browser.decide(browser.begin(link), company)
    site.conn.execute("UPDATE oauth_states SET expires_at = now() - interval '1 second'")
    page = browser.open(back)
    assert (page.status, page.title, page.links) == (400, "That took too long", [link])
    assert site.show(tenant)["connection"] is None


def test_states_that_nobody_brings_back_are_forgotten(site: Site, browser: Browser) -> None:
    tenant = site.tenant()
    browser.begin(site.link(tenant))
    site.conn.execute("UPDATE oauth_states SET expires_at = now() - interval '1 hour'")
    browser.begin(site.link(tenant))
    [(left,)] = site.conn.execute("SELECT count(*) FROM oauth_states WHERE expires_at < now()").fetchall()
    assert left == 0


def test_a_link_has_few_open_states_however_often_it_is_used(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    link = site.link(tenant)
    states = "SELECT count(*)::int FROM oauth_states s JOIN connect_links l ON l.digest = s.link WHERE l.tenant_id = %s"
    for _ in range(30):
        browser.open(link)
    assert site.conn.execute(states, (site.show(tenant)["id"],)).fetchone() == (0,)
    with ThreadPoolExecutor(4) as tabs:
        list(tabs.map(lambda _: Browser().redirect_target(link), range(40)))
    assert site.conn.execute(states, (site.show(tenant)["id"],)).fetchone() == (MOST_STATES,)
    assert browser.allow(link, company).title == "Front is connected"


@pytest.mark.parametrize(
    "query", ["", "?code=abc", "?state=&code=abc", "?state=wrong&code=abc", "?error=access_denied"]
)
def test_without_a_state_of_ours_nothing_is_looked_at(site: Site, browser: Browser, query: str) -> None:
    browser.begin(site.link(site.tenant()))
    page = browser.open(f"{site.console.url}/oauth/callback{query}")
    assert (page.status, page.title) == (400, ONCE)


@pytest.mark.parametrize("more", ["", "&code=", "&error=access_denied", "&error=access_denied&code=abc"])
def test_a_state_without_a_code_or_with_an_error_is_a_denial(site: Site, browser: Browser, more: str) -> None:
    link = site.link(site.tenant())
    state = state_of(browser.redirect_target(link))
    page = browser.open(f"{site.console.url}/oauth/callback?state={state}{more}")
    assert (page.status, page.title, page.links) == (403, "Access was not allowed", [link])


def test_neither_states_nor_browsers_nor_links_can_be_read_in_the_database(site: Site, browser: Browser) -> None:
    link = site.link(site.tenant())
    state = state_of(browser.redirect_target(link))
    rows = str(site.conn.execute("SELECT c::text, l::text FROM oauth_states c, connect_links l").fetchall())
    assert [word for word in (state, link.rpartition("/")[2]) if word in rows] == []


def test_no_token_code_state_or_link_is_logged(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    link = site.link(tenant)
    back = browser.decide(browser.begin(link), company)
    for address in (back, back, link):
        browser.open(address)
    [code] = parse_qs(urlsplit(back).query)["code"]
    secrets = [link.rpartition("/")[2], state_of(back), code, "canary-", *site.secret(tenant).values()]
    printed = site.console.printed()
    assert "tenant_connected" in printed
    assert [secret for secret in secrets if secret in printed] == []
