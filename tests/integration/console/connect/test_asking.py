"""A page of ours comes before Front's: it says who asks, for which tenant, and what the policy will do."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from tests.integration.console.connect.browser import Browser

if TYPE_CHECKING:
    from tests.integration.console.connect.conftest import Site


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (["--action", "none"], "Conversations stay as they are."),
        (["--action", "archive"], "archived."),
        (["--action", "trash"], "moved to the trash."),
        (["--action", "tag:tag_1"], "get a tag."),
        (["--action", "trash", "--always"], "all messages that come in. Their conversations are moved to the trash."),
        (["--only-inbox", "inb_1", "--only-inbox", "inb_2"], "in 2 of your inboxes"),
        (["--dry-run"], "nothing is changed in Front"),
    ],
)
def test_the_page_says_who_asks_for_which_tenant_and_what_is_done(
    site: Site, browser: Browser, policy: list[str], words: str
) -> None:
    tenant = site.tenant()
    site.mailroom("tenant", "policy", tenant, *policy)
    page = browser.open(site.link(tenant))
    assert (page.status, page.title) == (200, "Connect Front?")
    assert [each for each in (tenant, urlsplit(site.console.url).netloc, words) if each not in page.text] == []


def test_a_tenants_name_is_shown_as_text(site: Site, browser: Browser) -> None:
    site.mailroom("tenant", "add", "<i>Tenant</i>")
    assert "<i>Tenant</i>" in browser.open(site.link("<i>Tenant</i>")).text


def test_opening_the_link_stores_nothing_and_leads_nowhere(site: Site, browser: Browser) -> None:
    tenant = site.tenant()
    before = site.conn.execute("SELECT count(*) FROM oauth_states").fetchone()
    page = browser.open(site.link(tenant))
    assert page.address.startswith(site.console.url)
    assert site.conn.execute("SELECT count(*) FROM oauth_states").fetchone() == before


def test_the_tenant_is_named_afterwards(site: Site, browser: Browser) -> None:
    tenant = site.tenant()
    page = browser.allow(site.link(tenant), site.company())
    assert page.title == "Front is connected"
    assert f"Account {tenant}" in page.text


def test_the_page_alone_lets_its_form_lead_to_front_and_to_its_login(site: Site) -> None:
    policy = requests.get(site.link(site.tenant()), timeout=60).headers["Content-Security-Policy"]
    assert f"form-action 'self' https: {site.front.url}" in policy.split("; ")
    other = requests.get(f"{site.console.url}/connected", timeout=60).headers["Content-Security-Policy"]
    assert "form-action 'self'" in other.split("; ")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://elsewhere.example"},
    ],
)
def test_another_sites_form_does_not_go_on(site: Site, browser: Browser, headers: dict[str, str]) -> None:
    link = site.link(site.tenant())
    refused = browser.submit(browser.open(link), **headers)
    assert (refused.status, refused.title, refused.links) == (403, "Please begin on this page", [link])


@pytest.mark.parametrize("token", [None, "", "wrong", "f" * 64])
def test_a_form_without_the_token_of_this_browser_does_not_go_on(
    site: Site, browser: Browser, token: str | None
) -> None:
    page = browser.open(site.link(site.tenant()))
    page.fields = {} if token is None else {"form_token": token}
    assert browser.submit(page).status == 403


def test_the_token_of_another_browser_or_link_does_not_go_on(site: Site, browser: Browser) -> None:
    link, other = site.link(site.tenant()), site.link(site.tenant())
    page = browser.open(link)
    assert Browser().submit(page).status == 403
    stranger = Browser()
    stranger.open(link)
    assert stranger.submit(page).status == 403
    page.action = other
    assert browser.submit(page).status == 403


def test_a_link_that_ended_meanwhile_does_not_go_on(site: Site, browser: Browser) -> None:
    tenant = site.tenant()
    page = browser.open(site.link(tenant))
    site.link(tenant)
    assert browser.submit(page).title == "There is a newer link"


def test_an_expected_company_is_named_and_another_one_is_refused(site: Site, browser: Browser) -> None:
    company, another, tenant = site.company(), site.company(), site.tenant()
    link = site.mailroom.json("tenant", "connect", tenant, "--company", company)["url"]
    assert f"only {company}" in browser.open(link).text
    refused = browser.allow(link, another)
    assert (refused.status, refused.title, refused.links) == (409, "This link is for another Front company", [link])
    shown = site.show(tenant)
    assert (shown["company_id"], shown["connection"]) == (None, None)
    assert browser.allow(link, company).title == "Front is connected"


def test_another_company_than_the_tenants_cannot_be_expected(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    browser.allow(site.link(tenant), company)
    refused = site.mailroom("tenant", "connect", tenant, "--company", "cmp_other", code=1)
    assert company in refused.output
    site.mailroom("tenant", "connect", tenant, "--company", company)
    site.mailroom("tenant", "connect", tenant, "--company", "nonsense", code=2)


def test_the_journal_names_the_operator_of_a_link_and_the_admin_of_a_consent(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    browser.allow(site.mailroom.json("tenant", "connect", tenant, "--company", company)["url"], company)
    entries = reversed(site.mailroom.json("tenant", "journal", tenant))
    made, *done = [(each["who"].partition(" of ")[0], each["what"], each["kind"]) for each in entries][1:]
    assert made == ("command", "added", "connect_link")
    assert set(done) == {
        ("an admin in Front, by a connect link", "changed", "tenant"),
        ("an admin in Front, by a connect link", "changed", "connect_link"),
        ("an admin in Front, by a connect link", "added", "connection"),
    }
