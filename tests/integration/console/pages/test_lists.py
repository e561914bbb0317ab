"""Lists are exported, copied, filtered and changed from their pages, by those who may."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

import pytest

from console.access.actor import ROLES
from console.csv_lists import BYTE_ORDER_MARK
from tests.integration.console.pages.test_every_page import log_in, site_token
from tests.integration.console.rows import insert_event, insert_task
from tests.integration.schema.builders import insert, insert_id

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium

    from tests.integration.console.pages.conftest import Browser, Site

FORMULA = '"=HYPERLINK("http://evil.example")'
ADDRESS = "canary.address@hidden.example"
MOMENT = "2026-03-01T08:00:00+00:00"


@pytest.fixture(scope="module")
def tasks(site: Site) -> list[int]:
    """Insert 120 failed tasks of one tenant, in 60 groups that were all seen last at the same moment."""
    tenant = insert_id(site.conn, "tenants", name="Acme Ltd", company_id="cmp_lists")
    event = insert_event(site.conn, front_id="=1+1", company="cmp_lists", state="failed", cause="bug")
    found = [
        insert_task(
            site.conn, event, code="bug", detail=f"{FORMULA} in {'x' * (n // 2)} for {ADDRESS}", tenant_id=tenant
        )
        for n in range(120)
    ]
    site.conn.execute("UPDATE failure_groups SET last_seen = %s", (MOMENT,))
    return found


def export(browser: Browser, path: str, **fields: str) -> tuple[int, list[list[str]]]:
    """Ask for an export; return the status and the cells."""
    answer = browser.post(path, {"csrf_token": site_token(browser), **fields})
    text = answer.content.decode()
    return answer.status_code, list(
        csv.reader(io.StringIO(text.removeprefix(BYTE_ORDER_MARK), newline=""), strict=True)
    )


def test_all_that_match_are_exported_and_the_audit_says_so(site: Site, tasks: list[int]) -> None:
    browser = site.logged_in("operator")
    answer = browser.post("/tasks/export", {"csrf_token": site_token(browser), "q": "code:bug tenant:'Acme Ltd'"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r'attachment; filename="mailroom-tasks-\d{8}T\d{6}Z\.csv"', answer.headers["Content-Disposition"]
    )
    assert answer.content.startswith(BYTE_ORDER_MARK.encode())
    _, (header, *lines) = export(browser, "/tasks/export", q="code:bug")
    assert [int(line[header.index("id")]) for line in lines] == tasks[::-1]
    assert {line[header.index("detail")][:1] for line in lines} == {"'"}
    assert {line[header.index("event")] for line in lines} == {"'=1+1"}
    assert ADDRESS not in str(lines)
    assert "c…@hidden.example" in str(lines)
    entries = site.conn.execute("SELECT target, detail FROM audit WHERE verb = 'export' ORDER BY id DESC LIMIT 2")
    assert entries.fetchall() == [("tasks", "code:bug"), ("tasks", "tenant:'Acme Ltd' code:bug")]


def test_addresses_are_exported_to_those_who_ask_and_may(site: Site, tasks: list[int]) -> None:
    _, lines = export(site.logged_in("operator"), "/tasks/export", q="code:bug", addresses="yes")
    assert ADDRESS in str(lines)
    assert ("reveal", True) in [(verb, allowed) for _, _, verb, allowed in site.audit()]


@pytest.mark.usefixtures("tasks")
def test_nobody_exports_without_the_right(site: Site) -> None:
    status, _ = export(site.logged_in("viewer"), "/tasks/export", q="code:bug")
    assert status == 403
    assert ("export", False) in [(verb, allowed) for _, _, verb, allowed in site.audit()]


def test_every_list_is_exported(site: Site, tasks: list[int]) -> None:
    job = insert_id(site.conn, "jobs", verb="retry", words="code:bug", requested_by="jane@example.com", total=2)
    for task, outcome in zip(tasks[:2], ("done", None), strict=True):
        insert(site.conn, "job_items", job_id=job, task_id=task, version=0, outcome=outcome)
    browser = site.logged_in()
    for path, fields, count in (
        ("/events/export", {"q": "code:bug"}, 1),
        ("/events/export", {"q": "state:done tenant:'Acme Ltd'"}, 0),
        ("/failed/export", {"q": "code:bug"}, 60),
        (f"/jobs/{job}/export", {}, 2),
        (f"/jobs/{job}/export", {"outcome": "open"}, 1),
        ("/audit/export", {"verb": "nothing"}, 0),
    ):
        status, (_, *lines) = export(browser, path, **fields)
        assert (path, fields, status, len(lines)) == (path, fields, 200, count)
    assert export(browser, "/audit/export", verb="export")[1]
    assert export(browser, "/jobs/999999/export")[0] == 404
    assert export(browser, "/tasks/export", q="nonsense:1")[0] == 422


def test_pages_of_groups_that_failed_at_one_moment_leave_none_out(site: Site, tasks: list[int]) -> None:
    browser, path, numbers = site.logged_in("viewer"), "/failed?q=code:bug", set[str]()
    while path:
        text = browser.open(path).text
        numbers |= set(re.findall(r"q=group:(\d+)", text))
        older = re.search(r'rel="next" href="([^"]+)"', text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert len(numbers) == 60


@pytest.mark.parametrize("role", ROLES)
def test_each_list_shows_how_to_get_it_elsewhere(site: Site, tasks: list[int], role: str) -> None:
    browser = site.logged_in(role)
    text = browser.open("/tasks?q=tenant:'Acme Ltd' state:failed since:2h").text
    assert "mailroom task list --tenant &#39;Acme Ltd&#39; --state failed --since 2h" in text
    assert "/api/v1/tasks?tenant=Acme+Ltd&amp;state=failed&amp;since=2h" in text
    assert ('action="/tasks/export"' in text) is ("export" in ROLES[role])
    for path, command in (
        ("/events?q=email:jane@example.com since:1d", "mailroom event list --email jane@example.com --since 1d"),
        ("/failed?q=code:bug", "mailroom task groups --code bug"),
        ("/audit?verb=retry&allowed=no", "mailroom audit --verb retry --answer refused"),
    ):
        assert command in browser.open(path).text
    assert '<option value="tenant:&#39;Acme Ltd&#39;"' in browser.open("/events").text
    assert "email: goes together with one of" in browser.open("/events?q=email:jane@example.com").text


def test_an_id_alone_leads_to_its_row(site: Site, tasks: list[int]) -> None:
    browser = site.logged_in("viewer")
    assert browser.open(f"/tasks?q={tasks[0]}").headers["Location"] == f"/tasks/{tasks[0]}"
    assert browser.open("/tasks?q=evt_1").headers["Location"] == "/events?q=evt_1"
    assert "is no filter word" in browser.open("/failed?q=evt_1").text


def test_a_page_or_all_that_match_are_two_choices(site: Site, tasks: list[int]) -> None:
    browser = site.logged_in("operator")
    list_address = "/tasks?q=code:bug"
    text = browser.open(list_address).text
    assert "these 50, all of this page" in text
    assert "all 120 that match and failed or wait, on every page" in text
    shown = re.findall(r'name="shown" value="(\d+)"', text)
    assert list(map(int, shown)) == tasks[:-51:-1]
    form: dict[str, Any] = {"csrf_token": site_token(browser), "verb": "retry", "q": "code:bug", "back": list_address}
    for which, count in (("page", 50), ("all", 120)):
        planned = browser.post("/jobs/plan", {**form, "which": which, "shown": shown}).headers["Location"]
        page = browser.open(planned).text
        assert f"0 of {count} tasks" in page
        assert f'href="{list_address}"' in page
        number = re.findall(r"/jobs/(\d+)", planned)[0]
        cancelled = browser.post(f"/jobs/{number}/step", {**form, "step": "cancel"})
        assert cancelled.headers["Location"] == list_address
    assert "narrow the filter first" in browser.open("/tasks").text
    evil = browser.post("/jobs/plan", {**form, "which": "page", "shown": shown, "back": "//evil.example/tasks"})
    assert "evil" not in re.sub(r"back=[^&\"]*", "", browser.open(evil.headers["Location"]).text)


def test_a_row_is_retried_in_its_place(site: Site, tasks: list[int]) -> None:
    browser = site.logged_in("operator")
    here = f"/tasks?q=code:bug&before={tasks[60]}"
    form = {"csrf_token": site_token(browser), "back": here, "row": f"task-{tasks[40]}"}
    assert f'formaction="/tasks/{tasks[40]}/retry"' in browser.open(here).text
    answer = browser.post(f"/tasks/{tasks[40]}/retry", form)
    assert answer.headers["Location"] == f"{here}#task-{tasks[40]}"
    assert f'formaction="/tasks/{tasks[40]}/retry"' not in browser.open(here).text


def test_times_are_in_the_zone_that_the_reader_chose(site: Site, tasks: list[int], chromium: Chromium) -> None:
    window = log_in(site, chromium, timezone_id="Europe/Berlin")
    page = window.page
    page.goto("/audit")
    assert page.inner_text("#now").endswith(" UTC")
    page.click(".menu summary")
    page.click("text=Show times in Europe/Berlin")
    assert page.inner_text("#now").endswith(" CET")
    assert page.locator("tbody time").first.inner_text().endswith(" CET")
    page.goto("/events?q=since:2026-03-01T13:30")
    assert "since:2026-03-01T13:30:00%2B01:00" in page.url.replace("%3A", ":")
    assert "--since 2026-03-01T13:30:00+01:00" in page.inner_html(".list-tools")
    page.click(".menu summary")
    page.click("text=Show times in UTC")
    assert page.inner_text("#now").endswith(" UTC")
    for wrong in ("../../etc/passwd", "Mars/Base", "Europe", "x" * 200):
        page.context.add_cookies([{"name": "mailroom-zone", "value": wrong, "url": site.console.url}])
        page.goto("/audit")
        assert page.inner_text("#now").endswith(" UTC")
    assert window.complaints == []
    window.context.close()


def test_suggestions_follow_what_is_typed(site: Site, tasks: list[int], chromium: Chromium) -> None:
    window = log_in(site, chromium)
    window.page.goto("/tasks")
    window.page.fill("#q", "state:failed co")
    options = window.page.eval_on_selector_all("#filter-words option", "found => found.map((each) => each.value)")
    assert "state:failed code:bug" in options
    window.page.click(".list-tools summary")
    with window.page.expect_download() as download:
        window.page.click("text=Download all that match as CSV")
    assert download.value.suggested_filename.startswith("mailroom-tasks-")
    assert window.complaints == []
    window.context.close()


def test_a_paused_page_stays_as_it_is(site: Site, tasks: list[int], chromium: Chromium) -> None:
    window = log_in(site, chromium)
    page = window.page
    page.goto("/tasks")
    assert page.get_attribute("#live", "hx-get") == "/tasks"
    page.evaluate("document.body.dispatchEvent(new Event('tick'))")
    page.click(".menu summary")
    page.click("text=Pause live updates")
    assert page.get_attribute("#live", "hx-get") is None
    assert "updates are paused" in page.inner_text("footer")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate("document.body.dispatchEvent(new Event('tick')); window.dispatchEvent(new Event('focus'))")
    page.click(".menu summary")
    assert requests == []
    window.context.close()
