"""The Overview says what waits and what needs somebody; the Status page says it in words, with what to do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bench.harness.processes import wait_until
from console.web.pages.overview import MINUTES
from shared.db import figures
from shared.db.figures import Tally
from tests.chromium import open_window
from tests.integration.console.pages.conftest import PASSWORD
from tests.integration.console.rows import insert, insert_event, insert_task
from tests.integration.schema.builders import insert_id

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.integration.console.pages.conftest import Site


def text_of(html: str) -> str:
    """Return the text of a page on one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", html.partition("<main")[2]).split())


@pytest.fixture(scope="module")
def overview(site: Site) -> str:
    """The Overview of a Mailroom with a failed task, one that is due, a parked tenant and a silent worker."""
    conn, now = site.conn, datetime.now(UTC)
    conn.execute("TRUNCATE tenants, events, minute_figures, shared_figures CASCADE")  # one database serves all files
    conn.execute("DELETE FROM processes WHERE kind <> 'console'")
    acme = insert_id(conn, "tenants", name="Acme", company_id="cmp_acme")
    insert_id(conn, "tenants", name="Idle", company_id="cmp_idle", parked_cause="missing_scope", parked_at=now)
    insert_task(conn, insert_event(conn, state="failed"))
    waiting = insert_event(conn, front_id="evt_2", state="processing")
    insert_task(conn, waiting, state="ready", code=None, due_at=now - timedelta(minutes=7))
    insert(
        conn, "processes", name="worker@elsewhere:1", kind="worker", version="0.1.0", seen_at=now - timedelta(minutes=1)
    )
    tally = Tally()
    tally.add("received", now, {acme: 1234})
    tally.add("calls", now - timedelta(minutes=1), {acme: 99})
    tally.add("calls_refused", now - timedelta(minutes=1), {acme: 3})
    insert(conn, "deployments", at=now - timedelta(minutes=10), version="0.2.1")
    insert(conn, "processes", name="recorder@elsewhere:2", kind="recorder", version="0.2.1", metrics_port=9200)
    running = insert_task(conn, waiting, state="running", code=None, lease_epoch=1, lease_until=now)
    insert(
        conn, "attempts", task_id=running, epoch=1, worker="worker@elsewhere:1", started_at=now - timedelta(minutes=4)
    )
    with conn.transaction():
        figures.add(conn, tally)
    return text_of(site.logged_in("viewer").open("/").text)


def test_the_oldest_age_comes_first(overview: str) -> None:
    assert overview.index("Oldest waiting 7 min") < overview.index("Open work")


@pytest.mark.parametrize(
    "part",
    [
        "Webhooks to record 0",
        "Tasks due 1",
        "Failed 1",
        "Received in 24 hours 1,234",
        "Calls to Front 99 3 refused",
        "The lines in the charts are deployments: ",
        "version 0.2.1",
        "parked: missing_scope : Idle",
    ],
)
def test_figures_and_checks_are_shown(overview: str, part: str) -> None:
    assert part in overview


@pytest.mark.usefixtures("overview")
def test_counters_lead_to_their_lists_and_stand_in_the_navigation(site: Site) -> None:
    page = site.logged_in("viewer").open("/").text
    for address in ("/failed", "/parked", "/tasks?q=state:ready", "/events?q=since:1d", "/status"):
        assert f'href="{address}"' in page.replace("%3A", ":")
    assert '>Failed <span class="badge bg-red-lt">1</span>' in page


@pytest.mark.usefixtures("overview")
def test_the_status_page_says_what_to_do_and_which_processes_run(site: Site) -> None:
    page = site.logged_in("viewer").open("/status").text
    text = text_of(page)
    assert "set appendfsync always" in text or "redis sync ok" in text
    assert re.search(r"worker@elsewhere:1 silent 0\.1\.0", text)
    assert re.search(r"console@\S+ alive", text)
    assert "<code>" in page
    assert re.search(r"worker wrong .* none is alive: tasks wait, and none is lost; silent: worker@elsewhere:1", text)
    assert "Processes of different versions run side by side" in text
    assert "0.2.1: recorder@elsewhere:2" in text
    assert re.search(r"apply_action Acme worker@elsewhere:1 4 min", text)
    assert "web not counted" in text


@pytest.mark.usefixtures("overview")
def test_a_pointer_shows_the_figures_of_a_minute(site: Site, chromium: Browser) -> None:
    window = open_window(chromium, site.console.url)
    _, link = site.add_account("viewer")
    page = window.page
    page.goto(link)
    page.fill("#password", PASSWORD)
    page.fill("#again", PASSWORD)
    page.click("main button")
    chart = page.locator(".chart", has_text="Calls to Front")
    chart.locator("canvas").wait_for()

    def is_said() -> bool:
        """Point at the minute; the page may be updated just then."""
        place = (chart.get_attribute("data-values") or "").split().index("99")
        chart.scroll_into_view_if_needed()
        box = chart.locator(".u-over").bounding_box()
        assert box
        page.mouse.move(box["x"] + (place + 0.5) * box["width"] / MINUTES, box["y"] + box["height"] / 2)
        page.wait_for_timeout(100)  # the script follows the pointer once a frame
        return chart.locator(".chart-at").inner_text().endswith(": 99, 3 refused")

    assert wait_until(is_said, 30, every=0.1), chart.inner_text()
    assert window.complaints == []
    window.context.close()
