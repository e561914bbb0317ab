"""The pages of endpoints: added with a secret that is shown once, held, released, tested and removed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.console.pages.conftest import Browser, Site

SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


@pytest.fixture
def admin(site: Site) -> Browser:
    """Somebody who may change endpoints."""
    return site.logged_in()


def number_of(site: Site, name: str) -> int:
    row = site.conn.execute("SELECT id FROM endpoints WHERE name = %s", (name,)).fetchone()
    assert row
    return int(row[0])


def test_the_secret_is_shown_once(site: Site, admin: Browser) -> None:
    made = admin.submit(
        "/endpoints", name="app", url="https://app.example.com/in?key=private-part", tenant="", include="text"
    )
    [first] = set(SECRET.findall(made.text))
    page = f"/endpoints/{number_of(site, 'app')}"
    assert not SECRET.search(admin.open(page).text)
    [second] = set(SECRET.findall(admin.submit(page, to=f"{page}/rotate").text))
    assert first != second
    shown = admin.open("/endpoints").text + admin.open(page).text
    assert "https://app.example.com/in?…" in shown
    assert "private-part" not in shown
    assert "signs as well until" in shown


@pytest.mark.parametrize(
    ("url", "why"), [("http://app.example.com/", "must begin with https"), ("https://10.0.0.1/", "not public")]
)
def test_a_url_that_cannot_be_used_is_refused_with_the_reason(admin: Browser, url: str, why: str) -> None:
    refused = admin.submit("/endpoints", name="bad", url=url, include="text")
    assert refused.status_code == 422
    assert why in refused.text


def test_it_is_held_tested_released_and_removed(site: Site, admin: Browser) -> None:
    admin.submit("/endpoints", name="second", url="https://app.example.com/", include="none", type="message.received")
    number = number_of(site, "second")
    page = f"/endpoints/{number}"
    assert admin.submit(page, to=f"{page}/hold").status_code == 303
    assert "A person held it" in admin.open(page).text
    assert admin.submit(page, to=f"{page}/hold").status_code == 409
    tested = admin.submit(page, to=f"{page}/test")
    assert "/tasks/" in tested.headers["Location"]
    assert "where it is sent to" in admin.open(tested.headers["Location"]).text
    assert admin.submit(page, to=f"{page}/release").status_code == 303
    assert admin.submit(page, to=f"{page}/remove", name="another").status_code == 422
    assert admin.submit(page, to=f"{page}/remove", name="second").status_code == 303
    assert admin.open(page).status_code == 404
    verbs = [(verb, allowed) for _, _, verb, allowed in site.audit() if verb == "endpoints"]
    assert verbs[-5:] == [("endpoints", True)] * 5


def test_an_operator_sees_endpoints_and_changes_none(site: Site, admin: Browser) -> None:
    admin.submit("/endpoints", name="third", url="https://app.example.com/", include="text")
    operator = site.logged_in("operator")
    page = f"/endpoints/{number_of(site, 'third')}"
    assert "third" in operator.open("/endpoints").text
    assert "Remove" not in operator.open(page).text
    assert operator.submit("/tenants", to=f"{page}/hold").status_code == 403
