"""Tenants with their activity, parked companies that are connected from the page, and repairs drawn hour by hour."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from shared.db import figures
from shared.db.figures import Tally
from tests.integration.console.pages.test_overview import text_of
from tests.integration.console.rows import insert_event
from tests.integration.schema.builders import insert, insert_id

if TYPE_CHECKING:
    from tests.integration.console.pages.conftest import Site

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def acme(site: Site) -> int:
    """A tenant with mail in the last hours, of which one of two events has a user among its recipients."""
    conn = site.conn
    conn.execute("TRUNCATE tenants, events, minute_figures, repairs CASCADE")  # one database serves all files
    acme = insert_id(conn, "tenants", name="Acme", company_id="cmp_acme")
    insert(conn, "connections", tenant_id=acme, kind="oauth", secret=b"sealed", expires_at=NOW + timedelta(minutes=50))
    insert_event(conn, recipients=json.dumps([["a@x.example", "to", 7, "user"]]), received_at=NOW)
    insert_event(conn, front_id="evt_2", recipients=json.dumps([["b@x.example", "to", None, "no user"]]))
    tally = Tally()
    tally.add("received", NOW, {acme: 5})
    tally.add("received", NOW - timedelta(hours=3), {acme: 7})
    tally.add("received", NOW - timedelta(hours=30), {acme: 100})
    with conn.transaction():
        figures.add(conn, tally)
    return acme


def test_a_tenants_page_tells_how_it_does(site: Site, acme: int) -> None:
    text = text_of(site.logged_in("admin").open(f"/tenants/{acme}").text)
    assert "Received in 24 hours 12" in text
    assert "50 % of the last 2 events have a recipient who is a user" in text
    assert "of 120 used in the last minute" in text
    assert "it is renewed by itself" in text
    assert "mailroom tenant erase Acme" in text


def test_the_list_draws_the_last_hours(site: Site, acme: int) -> None:
    page = site.logged_in("viewer").open("/tenants").text
    assert 'aria-label="Received by the hour: 12 in 24 hours, 7 in the highest"' in page
    assert "token expires" in page


def test_only_an_admin_is_told_how_to_erase(site: Site, acme: int) -> None:
    assert "tenant erase" not in site.logged_in("operator").open(f"/tenants/{acme}").text


def test_a_parked_company_gets_a_tenant_and_a_link(site: Site, acme: int) -> None:
    insert_event(
        site.conn, front_id="evt_p", company="cmp_new", tenant_id=None, state="parked", cause="unknown_company"
    )
    browser = site.logged_in("operator")
    assert 'name="company" value="cmp_new"' in browser.open("/parked").text
    answer = browser.submit("/parked", company="cmp_new", name="New & Sons")
    assert (answer.status_code, "/connect/" in answer.text) in {(200, True), (409, False)}, answer.text
    assert site.conn.execute("SELECT name FROM tenants WHERE company_id = 'cmp_new'").fetchall() == [("New & Sons",)]
    assert browser.submit("/parked", company="cmp_new", name="Again").status_code == 409
    assert browser.submit("/parked", company="cmp_other", name=" ").status_code == 422


def test_a_viewer_is_told_the_command_instead(site: Site, acme: int) -> None:
    insert_event(site.conn, front_id="evt_q", company="cmp_q", tenant_id=None, state="parked", cause="unknown_company")
    page = site.logged_in("viewer").open("/parked").text
    assert "mailroom tenant add NAME --company cmp_q" in page
    assert 'value="cmp_q"' not in page


def test_a_repair_shows_its_holes(site: Site, acme: int) -> None:
    hours = {"2026-03-01T08:00Z": [4, 0], "2026-03-01T10:00Z": [5, 2]}
    insert(
        site.conn, "repairs", tenant_id=acme, requested_by="nora", state="done", since=NOW, until=NOW, seen=9,
        missing=2, hours=json.dumps(hours), settled_at=NOW,
    )  # fmt: skip
    page = site.logged_in("viewer").open("/repair").text
    assert "from 2026-03-01 08:00:00 UTC to 2026-03-01 10:00:00 UTC: 9 on Front's list, 7 came by webhook" in page
    assert page.count('class="hole"') == 1
