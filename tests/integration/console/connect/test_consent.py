"""An admin opens the link and consents at Front, and the tenant is connected. Any error connects nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.integration.console.connect.browser import Browser

if TYPE_CHECKING:
    from tests.integration.console.connect.conftest import Site


def unconnected(site: Site, tenant: str) -> bool:
    shown = site.show(tenant)
    return (shown["connection"], shown["company_id"], shown["parked_cause"]) == (None, None, "needs_reconnect")


def test_a_consent_connects_the_tenant_to_the_admins_company(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    page = browser.allow(site.link(tenant), company)
    assert (page.title, page.status, page.refresh, page.lang) == ("Front is connected", 200, "3", "en")
    assert page.address == f"{site.console.url}/connected"
    shown = site.show(tenant)
    assert (shown["company_id"], shown["connection"], shown["parked_cause"]) == (company, "oauth", None)


def test_the_stored_tokens_are_valid_at_front(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    browser.allow(site.link(tenant), company)
    secret = site.secret(tenant)
    assert site.front.front.grants.holder(secret["access_token"], site.front.front.now()).company == company  # type: ignore[union-attr]
    assert site.front.front.grants.refresh(secret["refresh_token"], site.front.front.now())


def test_a_companys_name_is_shown_as_text(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    assert f"Company <b>{company}</b>" in browser.allow(site.link(tenant), company).text


def test_a_companys_long_name_does_not_make_a_cookie_that_browsers_drop(site: Site, browser: Browser) -> None:
    company, tenant = site.company("".join(chr(0x4E00 + n) for n in range(3_000))), site.tenant()
    assert browser.allow(site.link(tenant), company).title == "Front is connected"
    assert browser.largest_cookie() < 4_096


def test_an_admin_who_denies_may_try_again_with_the_same_link(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    link = site.link(tenant)
    page = browser.open(browser.decide(browser.begin(link), company, allow=False))
    assert (page.status, page.title, page.links) == (403, "Access was not allowed", [link])
    assert unconnected(site, tenant)
    assert browser.allow(page.links[0], company).title == "Front is connected"


def test_an_admin_returns_to_the_link_when_postgresql_fails(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    link = site.link(tenant)
    back = browser.decide(browser.begin(link), company)
    with site.conn.transaction():
        site.conn.execute("SELECT FROM tenants WHERE name = %s FOR UPDATE", (tenant,))
        page = browser.open(back)
    assert (page.status, page.title, page.links) == (503, "Not available at the moment", [link])
    assert unconnected(site, tenant)
    assert browser.allow(link, company).title == "Front is connected"


def test_a_link_connects_once(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    link = site.link(tenant)
    browser.allow(link, company)
    page = Browser().open(link)
    assert (page.status, page.title) == (410, "This link was used already")


@pytest.mark.parametrize(
    ("ends", "title"),
    [("expire_links", "This link has expired"), ("link", "There is a newer link")],
)
def test_a_link_that_ended_says_how(site: Site, browser: Browser, ends: str, title: str) -> None:
    tenant = site.tenant()
    link = site.link(tenant)
    getattr(site, ends)(tenant)
    page = browser.open(link)
    assert (page.status, page.title) == (410, title)


def test_an_unknown_link_says_what_may_be_wrong(site: Site, browser: Browser) -> None:
    page = browser.open(f"{site.console.url}/connect/{'x' * 43}")
    assert (page.status, page.title) == (404, "This link is not known")


def test_a_link_that_is_replaced_at_front_connects_nothing(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    back = browser.decide(browser.begin(site.link(tenant)), company)
    site.link(tenant)
    assert browser.open(back).title == "There is a newer link"
    assert unconnected(site, tenant)


def test_the_company_of_another_tenant_stays_there(site: Site, browser: Browser) -> None:
    company, owner, other = site.company(), site.tenant(), site.tenant()
    browser.allow(site.link(owner), company)
    before = site.secret(owner)
    page = Browser().allow(site.link(other), company)
    assert (page.status, page.title) == (409, "This Front company is connected already")
    assert owner not in page.text
    assert unconnected(site, other)
    assert site.secret(owner) == before


def test_a_tenant_keeps_the_company_it_has(site: Site, browser: Browser) -> None:
    company, another, tenant = site.company(), site.company(), site.tenant()
    browser.allow(site.link(tenant), company)
    link = site.link(tenant)
    page = browser.allow(link, another)
    assert (page.status, page.title, page.links) == (409, "This link is for another Front company", [link])
    assert site.show(tenant)["company_id"] == company


def test_a_second_company_of_one_customer_has_a_tenant_of_its_own(site: Site, browser: Browser) -> None:
    tenants = [site.tenant("--customer", "customer-4711") for _ in range(2)]
    for tenant in tenants:
        browser.allow(site.link(tenant), site.company())
    listed = site.mailroom.json("tenant", "list", "--customer", "customer-4711")
    assert [(each["name"], each["connection"]) for each in listed] == [(tenant, "oauth") for tenant in sorted(tenants)]


def test_of_two_tabs_one_connects(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    link = site.link(tenant)
    backs = [browser.decide(browser.begin(link), company) for _ in range(2)]
    with ThreadPoolExecutor(2) as tabs:
        titles = sorted(page.title for page in tabs.map(browser.open, backs))
    assert titles == ["Front is connected", "This link was used already"]
    assert site.show(tenant)["connection_version"] == 1


def test_of_two_tenants_that_bind_one_company_at_once_one_gets_it(site: Site) -> None:
    company, browsers = site.company(), [Browser(), Browser()]
    tenants = [site.tenant(), site.tenant()]
    backs = [
        each.decide(each.begin(site.link(tenant)), company) for each, tenant in zip(browsers, tenants, strict=True)
    ]
    with ThreadPoolExecutor(2) as admins:
        pages = list(admins.map(lambda pair: pair[0].open(pair[1]), zip(browsers, backs, strict=True)))
    assert sorted(page.status for page in pages) == [200, 409]
    assert sorted(str(site.show(tenant)["company_id"]) for tenant in tenants) == ["None", company]


@pytest.mark.parametrize(
    ("before", "after"), [("needs_reconnect", None), ("missing_scope", None), ("paused", "paused")]
)
def test_connecting_anew_lets_the_tenant_go_on_unless_a_person_paused_it(
    site: Site, browser: Browser, before: str, after: str | None
) -> None:
    company, tenant = site.company(), site.tenant()
    browser.allow(site.link(tenant), company)
    connected_at = site.show(tenant)["connected_at"]
    site.front.front.grants.revoke(company)
    site.conn.execute("UPDATE tenants SET parked_cause = %s, parked_at = now() WHERE name = %s", (before, tenant))
    assert browser.allow(site.link(tenant), company).title == "Front is connected"
    shown = site.show(tenant)
    assert (shown["parked_cause"], shown["connection_version"], shown["connected_at"]) == (after, 2, connected_at)


def test_a_tenant_that_is_being_erased_is_not_connected(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    back = browser.decide(browser.begin(site.link(tenant)), company)
    site.conn.execute("UPDATE tenants SET parked_cause = 'erasing' WHERE name = %s", (tenant,))
    page = browser.open(back)
    assert (page.status, page.title) == (410, "This account is being deleted")
    shown = site.show(tenant)
    assert (shown["company_id"], shown["connection"]) == (None, None)


def test_a_company_whose_data_was_erased_may_be_connected_again(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    site.conn.execute("INSERT INTO erased_companies (company_id) VALUES (%s)", (company,))
    assert browser.allow(site.link(tenant), company).title == "Front is connected"
    buried = site.conn.execute("SELECT 1 FROM erased_companies WHERE company_id = %s", (company,)).fetchall()
    assert buried == []


def test_a_browser_that_connected_nothing_sees_nothing(site: Site, browser: Browser) -> None:
    assert browser.open(f"{site.console.url}/connected").status == 404


def test_a_forged_cookie_shows_nothing(site: Site, browser: Browser) -> None:
    company, tenant = site.company(), site.tenant()
    browser.allow(site.link(tenant), company)
    browser.corrupt_cookies()
    assert browser.open(f"{site.console.url}/connected").status == 404
