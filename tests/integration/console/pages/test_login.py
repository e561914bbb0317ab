"""People log in to the console, and nobody else gets in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.integration.console.pages.conftest import PASSWORD

if TYPE_CHECKING:
    import requests

    from tests.integration.console.pages.conftest import Site


def test_nobody_logs_in_before_there_is_an_account(site: Site) -> None:
    site.conn.execute("DELETE FROM accounts")
    answer = site.browser().open("/account")
    assert answer.status_code == 403
    assert "mailroom admin add" in answer.text


def test_a_link_sets_the_password_and_logs_in(site: Site) -> None:
    email, link = site.add_account()
    browser = site.browser()
    answer = browser.submit(link, password=PASSWORD, again=PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert email in browser.open("/account").text


def test_a_link_works_once(site: Site) -> None:
    _, link = site.add_account()
    assert site.browser().submit(link, password=PASSWORD, again=PASSWORD).status_code == 303
    second = site.browser()
    assert second.open(link).status_code == 410
    assert second.submit("/login", to=link, password=PASSWORD, again=PASSWORD).status_code == 410


def test_a_new_link_ends_the_older_one(site: Site) -> None:
    email, link = site.add_account()
    newer = site.mailroom.json("admin", "link", email)["link"]
    assert (site.browser().open(link).status_code, site.browser().open(newer).status_code) == (410, 200)


@pytest.mark.parametrize(("password", "again"), [("short", "short"), (PASSWORD, "another one"), ("x" * 257, "x" * 257)])
def test_a_password_that_cannot_be_used_leaves_the_link_good(site: Site, password: str, again: str) -> None:
    _, link = site.add_account()
    browser = site.browser()
    assert browser.submit(link, password=password, again=again).status_code == 422
    assert browser.submit(link, password=PASSWORD, again=PASSWORD).status_code == 303


def test_the_password_logs_in_and_log_out_ends_the_session(site: Site) -> None:
    email, link = site.add_account()
    site.browser().submit(link, password=PASSWORD, again=PASSWORD)
    browser = site.browser()
    answer = browser.submit("/login?next=/account?x=1", to="/login", email=email.upper(), password=PASSWORD, next="/a")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/a")
    stolen = browser.session.cookies.copy()
    assert browser.submit("/account", to="/logout").status_code == 303
    thief = site.browser()
    thief.session.cookies.update(stolen)
    assert thief.open("/account").status_code == 303


def test_the_cookie_is_for_this_host_and_for_no_script(site: Site) -> None:
    _, link = site.add_account()
    cookies = site.browser().submit(link, password=PASSWORD, again=PASSWORD).headers["Set-Cookie"]
    login = next(each for each in re.split(r", (?=mailroom)", cookies) if each.startswith("mailroom-login="))
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(login.split("; "))
    assert "Domain" not in login


def test_each_log_in_gets_a_secret_of_its_own(site: Site) -> None:
    email, link = site.add_account()
    browser = site.browser()
    browser.submit(link, password=PASSWORD, again=PASSWORD)
    first = browser.session.cookies["mailroom-login"]
    token = {"csrf_token": _token(browser.open("/account"))}
    browser.post("/login", {**token, "email": email, "password": PASSWORD})
    assert browser.session.cookies["mailroom-login"] != first


@pytest.mark.parametrize("email", ["nobody@example.com", "", "no address", "\udc80@example.com"])
def test_an_unknown_account_is_refused_as_a_wrong_password_is(site: Site, email: str) -> None:
    known, link = site.add_account()
    site.browser().submit(link, password=PASSWORD, again=PASSWORD)
    unknown = _refusal(site.browser().submit("/login", email=email.encode("utf-8", "replace").decode(), password="x"))
    wrong = _refusal(site.browser().submit("/login", email=known, password="x"))
    assert unknown == wrong


def test_an_account_closes_for_an_address_after_five_wrong_passwords(site: Site) -> None:
    site.conn.execute("DELETE FROM login_failures")
    email, link = site.add_account()
    site.browser().submit(link, password=PASSWORD, again=PASSWORD)
    browser = site.browser()
    statuses = [browser.submit("/login", email=email, password="wrong").status_code for _ in range(6)]
    right = browser.submit("/login", email=email, password=PASSWORD)
    assert (statuses, right.status_code) == ([403] * 5 + [429], 429)
    assert int(right.headers["Retry-After"]) > 60
    site.conn.execute("UPDATE login_failures SET failed_at = failed_at - interval '16 minutes'")
    assert browser.submit("/login", email=email, password=PASSWORD).status_code == 303


def test_an_address_closes_after_thirty_wrong_passwords(site: Site) -> None:
    site.conn.execute("DELETE FROM login_failures")
    site.conn.execute(
        "INSERT INTO login_failures (account, address) SELECT n::text::bytea, '127.0.0.1' FROM generate_series(1, 30) n"
    )
    assert site.browser().submit("/login", email="someone@example.com", password="x").status_code == 429
    site.conn.execute("DELETE FROM login_failures")


def test_a_disabled_account_is_logged_out_and_cannot_log_in(site: Site) -> None:
    site.add_account()
    email, link = site.add_account("operator")
    browser = site.browser()
    browser.submit(link, password=PASSWORD, again=PASSWORD)
    site.mailroom("admin", "disable", email)
    assert browser.open("/account").status_code == 303
    assert site.browser().submit("/login", email=email, password=PASSWORD).status_code == 403
    site.mailroom("admin", "enable", email)
    assert site.browser().submit("/login", email=email, password=PASSWORD).status_code == 303


def test_a_new_password_ends_the_other_sessions(site: Site) -> None:
    email, link = site.add_account()
    here, there = site.browser(), site.browser()
    here.submit(link, password=PASSWORD, again=PASSWORD)
    there.submit("/login", email=email, password=PASSWORD)
    changed = here.submit(
        "/account", to="/account/password", old=PASSWORD, password="another good one", again="another good one"
    )
    assert changed.status_code == 303
    assert (here.open("/account").status_code, there.open("/account").status_code) == (200, 303)


def test_a_wrong_old_password_changes_nothing(site: Site) -> None:
    email, link = site.add_account()
    browser = site.browser()
    browser.submit(link, password=PASSWORD, again=PASSWORD)
    wrong = browser.submit(
        "/account", to="/account/password", old="wrong", password="another good one", again="another good one"
    )
    assert wrong.status_code == 422
    assert site.browser().submit("/login", email=email, password=PASSWORD).status_code == 303


def test_sessions_end_when_they_are_idle_and_when_they_are_old(site: Site) -> None:
    for column, age in (("seen_at", "12 hours 1 minute"), ("created_at", "7 days 1 minute")):
        browser = site.logged_in()
        assert browser.open("/account").status_code == 200
        site.conn.execute(f"UPDATE console_sessions SET {column} = now() - interval '{age}'")
        assert browser.open("/account").status_code == 303


def test_other_sessions_can_be_ended(site: Site) -> None:
    email, link = site.add_account()
    here, there = site.browser(), site.browser()
    here.submit(link, password=PASSWORD, again=PASSWORD)
    there.submit("/login", email=email, password=PASSWORD)
    assert here.submit("/account", to="/account/sessions").status_code == 303
    assert (here.open("/account").status_code, there.open("/account").status_code) == (200, 303)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": ""},
        {"Sec-Fetch-Site": None},
        {"Sec-Fetch-Site": None, "Origin": "null"},
        {"Sec-Fetch-Site": None, "Origin": "https://evil.example"},
    ],
)
def test_a_form_of_another_site_changes_nothing(site: Site, headers: dict[str, str | None]) -> None:
    browser = site.logged_in()
    form = {"csrf_token": _token(browser.open("/account"))}
    refused = browser.post("/logout", form, **headers)
    assert (refused.status_code, browser.open("/account").status_code) == (403, 200)


def test_an_old_browser_names_its_origin(site: Site) -> None:
    browser = site.logged_in()
    form = {"csrf_token": _token(browser.open("/account"))}
    answer = browser.post("/logout", form, **{"Sec-Fetch-Site": None, "Origin": browser.url})
    assert answer.status_code == 303


def test_a_form_without_its_token_changes_nothing(site: Site) -> None:
    browser = site.logged_in()
    assert browser.post("/logout", {}).status_code == 403
    assert browser.post("/logout", {"csrf_token": _token(site.browser().open("/login"))}).status_code == 403
    assert browser.open("/account").status_code == 200


def test_a_link_from_elsewhere_loads_once_more_with_the_cookie(site: Site) -> None:
    answer = site.browser().open("/account?a=1", **{"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.headers["Refresh"]) == (200, "0")
    assert 'href="/account?a=1"' in answer.text


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1", "a b"]
)
def test_a_log_in_goes_on_to_our_pages_only(site: Site, target: str) -> None:
    email, link = site.add_account()
    site.browser().submit(link, password=PASSWORD, again=PASSWORD)
    answer = site.browser().submit("/login", email=email, password=PASSWORD, next=target)
    assert answer.headers["Location"] == "/"


def test_the_last_admin_stays(site: Site) -> None:
    site.conn.execute("DELETE FROM accounts")
    email, _ = site.add_account()
    assert "last" in site.mailroom("admin", "disable", email, code=1).output
    site.mailroom("admin", "set-role", email, "viewer", code=1)
    other, _ = site.add_account()
    site.mailroom("admin", "set-role", email, "viewer")
    roles = {each["email"]: each["role"] for each in site.mailroom.json("admin", "list")}
    assert roles == {email: "viewer", other: "admin"}


def test_an_address_logs_in_once_whatever_its_case(site: Site) -> None:
    email, _ = site.add_account()
    site.mailroom("admin", "add", email.title(), code=1)
    site.mailroom("admin", "add", "no address", code=1)


def test_the_audit_names_log_ins_and_what_an_admin_did(site: Site) -> None:
    site.conn.execute("DELETE FROM audit")
    email, link = site.add_account("operator")
    site.browser().submit(link, password=PASSWORD, again=PASSWORD)
    browser = site.browser()
    browser.submit("/login", email=email, password="wrong")
    browser.submit("/login", email=email, password=PASSWORD)
    entries = [(via, verb, allowed) for _, via, verb, allowed in site.audit()]
    assert entries == [
        ("cli", "manage_accounts", True),
        ("cli", "manage_accounts", True),
        ("page", "set_password", True),
        ("page", "log_in", False),
        ("page", "log_in", True),
    ]


def _token(page: requests.Response) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found
    return found[1]


def _refusal(answer: requests.Response) -> tuple[int, str]:
    found = re.search(r'<p class="bad"[^>]*>(.*?)</p>', answer.text)
    assert found
    return answer.status_code, found[1]
