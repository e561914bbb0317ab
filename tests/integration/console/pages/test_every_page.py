"""Every page opens for those who may see it, with hostile text in every column, in the dark and on a narrow screen."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from console.access.actor import ROLES
from console.web.app import VERBS_OF_PAGES
from shared.rejected_requests import RejectedRequest, RejectedRequests, slot_of
from tests.chromium import NARROW, Window, open_window
from tests.integration.console.pages.conftest import PASSWORD
from tests.integration.console.rows import insert_event, insert_task
from tests.integration.schema.builders import insert, insert_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from playwright.sync_api import Browser

    from tests.integration.console.pages.conftest import Site

HOSTILE = "<script>document.title='run'</script>\u202e\u200b\x1b[31m\"'><img src=x onerror=document.title='run'>"
ADDRESS = "canary.address@hidden.example"
PAGES = (
    "/",
    "/status",
    "/failed",
    "/tasks",
    "/tasks?q=state:failed",
    "/tasks?before=999999",
    "/tasks?q=group:{group}",
    "/tasks/{task}",
    "/tasks/{task}/action?action=archive",
    "/events",
    "/events/{event}",
    "/parked",
    "/rejected",
    "/tenants",
    "/tenants/{tenant}",
    "/endpoints",
    "/endpoints/{endpoint}",
    "/tasks/{notification}",
    "/repair",
    "/jobs",
    "/jobs/{job}",
    "/jobs/{job}?outcome=open&back=/tasks",
    "/audit",
    "/addresses",
    "/addresses/{erasure}",
    "/people",
    "/settings",
    "/account",
)
#: Where an address may be read: those of the people who log in are the pages' own subject.
ACCOUNTS = {"/audit", "/people", "/account"}


@pytest.fixture(scope="module")
def numbers(site: Site, redis_url: str) -> dict[str, int]:
    """Fill every table with hostile text, and return the number of one row of each."""
    conn = site.conn
    tenant = insert_id(conn, "tenants", name=f"T {HOSTILE}", company_id="cmp_acme", customer=HOSTILE, action="archive")
    insert_id(conn, "tenants", name="T", customer=f"longer than the link before it {HOSTILE}")
    event = _hostile_event(conn, tenant)
    task = insert_task(
        conn,
        event,
        code=HOSTILE,
        detail=f"for {ADDRESS}: {HOSTILE}",
        lease_epoch=2,
        settled_at="now",
    )
    call = {"method": HOSTILE, "path": f"/{HOSTILE}", "status": 500, "ms": 1, "budget_left": 2}
    insert(
        conn, "attempts", task_id=task, epoch=2, worker=HOSTILE, ended_at="now", outcome="failed", code=HOSTILE,
        detail=f"{ADDRESS} {HOSTILE}", calls=json.dumps([call]),
    )  # fmt: skip
    insert(conn, "journal", event_id=event, what=HOSTILE, who=HOSTILE, detail=f"{ADDRESS} {HOSTILE}")
    insert(
        conn, "tenant_journal", tenant_id=tenant, who=HOSTILE, what="changed", kind="user", name=HOSTILE,
        before=json.dumps({HOSTILE: HOSTILE}), after=json.dumps({HOSTILE: ADDRESS}),
    )  # fmt: skip
    insert(
        conn, "repairs", tenant_id=tenant, requested_by=HOSTILE, state="failed", code=HOSTILE, detail=HOSTILE,
        asked_since="now", hours=json.dumps({HOSTILE: [2, 1]}),
    )  # fmt: skip
    insert(
        conn, "audit", who=HOSTILE, via="api", verb="retry", target=HOSTILE, allowed=False, detail=HOSTILE,
        before=json.dumps({HOSTILE: HOSTILE}), after=json.dumps({HOSTILE: HOSTILE}),
    )  # fmt: skip
    job = insert_id(conn, "jobs", verb="retry", words=HOSTILE, reason=HOSTILE, requested_by=HOSTILE, total=1)
    insert(conn, "job_items", job_id=job, task_id=task, version=2)
    conn.execute("UPDATE failure_groups SET state_by = %s, state_at = now(), note = %s", (HOSTILE, HOSTILE))
    (group,) = conn.execute("SELECT failure_group_id FROM tasks WHERE id = %s", (task,)).fetchone() or (0,)
    running = insert_task(conn, event, state="running", lease_epoch=1, lease_until="now", code=None)
    insert(conn, "attempts", task_id=running, epoch=1, worker=HOSTILE)
    insert(conn, "processes", name=f"worker@{HOSTILE}:1", kind="worker", version=HOSTILE)
    insert(conn, "deployments", version=HOSTILE)
    parked = {"tenant_id": None, "state": "parked", "cause": "unknown_company"}
    insert_event(conn, front_id="evt_p", company=f"cmp_{HOSTILE}", **parked)
    _reject_hostile_requests(redis_url)
    endpoint = insert_id(
        conn, "endpoints", name=HOSTILE, url=f"https://app.example.com/{HOSTILE}?{HOSTILE}", secret=b"-", state="held",
        held_cause="failures", held_at="now", failures=5, failing_since="now", last_failure=f"{ADDRESS} {HOSTILE}",
        probe_at="now", previous_until="2100-01-01", last_seconds=0.2,
    )  # fmt: skip
    insert(conn, "notifications", position=1_000_000, type="ping", at="now", conversation_id=HOSTILE)
    notification = insert_id(
        conn, "tasks", kind="notify", state="ready", endpoint_id=endpoint, position=1_000_000, order_key=1,
        code=HOSTILE, detail=f"{ADDRESS} {HOSTILE}",
    )  # fmt: skip
    erasure = insert_id(
        conn, "address_erasures", tenant_id=tenant, mask="erased-0@erased.invalid", requested_by=HOSTILE, sealed=b"-",
        until_event=5,
    )  # fmt: skip
    insert(conn, "address_erasure_items", erasure_id=erasure, place=HOSTILE, outcome="masked", settled_at="now")
    return {
        "erasure": erasure,
        "tenant": tenant,
        "event": event,
        "task": task,
        "job": job,
        "group": int(group),
        "endpoint": endpoint,
        "notification": notification,
    }


def _reject_hostile_requests(redis_url: str) -> None:
    """Leave rejections in Redis with hostile text in each part that holds text."""
    now = datetime.now(UTC)
    sample = RejectedRequest(at=now, status=401, network=HOSTILE, size=5, detail=f"{ADDRESS} {HOSTILE}")
    RejectedRequests(redis_url).add({slot_of(now.timestamp()): {HOSTILE: 3}}, {HOSTILE: [sample]})


def _hostile_event(conn: psycopg.Connection[Any], tenant: int) -> int:
    recipients = [[ADDRESS, "to", None, f"no user with {ADDRESS}"], [HOSTILE, HOSTILE, None, HOSTILE]]
    event = insert_event(
        conn, front_id=f"evt_{HOSTILE}", state="failed", cause=HOSTILE, type=HOSTILE, conversation_id=HOSTILE,
        message_id=HOSTILE, source=HOSTILE, recipients=json.dumps(recipients),
    )  # fmt: skip
    insert(
        conn, "attachments", tenant_id=tenant, event_id=event, conversation_id=HOSTILE, front_id=HOSTILE,
        filename=HOSTILE, content_type=HOSTILE, state="stored", size=1, sha256="a" * 64, stored_at="now",
    )  # fmt: skip
    insert(
        conn, "actions", event_id=event, tenant_id=tenant, conversation_id=HOSTILE, kind=HOSTILE, wait_for="stored",
        state="failed", reason=f"{ADDRESS} {HOSTILE}", emitted_at="now", settled_at="now", intent_at="now",
    )  # fmt: skip
    return event


@pytest.fixture(scope="module")
def window(site: Site, chromium: Browser) -> Iterator[Window]:
    """A window of an admin."""
    window = log_in(site, chromium)
    yield window
    window.context.close()


def log_in(site: Site, browser: Browser, role: str = "admin", **options: Any) -> Window:
    """Open a window and log in through the pages."""
    _, link = site.add_account(role)
    window = open_window(browser, site.console.url, **options)
    window.page.goto(link)
    window.page.fill("#password", PASSWORD)
    window.page.fill("#again", PASSWORD)
    window.page.click("main button")
    return window


def test_no_page_is_left_out() -> None:
    opened = {re.sub(r"{\w+}", "<int:number>", path.partition("?")[0]) for path in PAGES}
    shown = {rule for rule, methods, _ in VERBS_OF_PAGES if "GET" in methods}
    assert shown - opened == {"/simulator"}  # it shows what the sandbox answers, and nothing of a table


@pytest.mark.parametrize("path", PAGES)
def test_hostile_text_is_shown_and_not_run(window: Window, numbers: dict[str, int], path: str) -> None:
    window.complaints.clear()
    answer = window.page.goto(path.format(**numbers))
    assert answer
    assert answer.status == 200
    text = window.page.content()
    assert (window.page.title() != "run", window.complaints) == (True, [])
    hidden = {"\u202e", "\u200b", "\x1b"}
    assert [text[place - 60 : place + 20] for place, char in enumerate(text) if char in hidden] == []
    assert path in ACCOUNTS or ADDRESS not in text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_serious_fault_for_people_with_disabilities(
    window: Window, numbers: dict[str, int], path: str
) -> None:
    window.page.goto(path.format(**numbers))
    assert window.serious_faults() == []


def test_pages_fit_a_narrow_screen_and_the_dark(site: Site, chromium: Browser, numbers: dict[str, int]) -> None:
    window = log_in(site, chromium, viewport=NARROW, color_scheme="dark")
    for path in PAGES:
        window.page.goto(path.format(**numbers))
        assert (path, window.is_wider_than_the_screen(), window.serious_faults()) == (path, False, [])
    window.context.close()


def test_pages_work_without_javascript(site: Site, chromium: Browser, numbers: dict[str, int]) -> None:
    window = log_in(site, chromium, java_script_enabled=False)
    window.page.goto("/tasks?q=state:failed")
    window.page.check(f"#task-{numbers['task']} input")
    window.page.click("button:has-text('Plan a retry')")
    assert "/jobs/" in window.page.url
    window.page.click("button:has-text('Cancel')")
    assert "cancelled" in window.page.inner_text("main")
    assert "/tasks?q=state" in window.page.url
    window.context.close()


def test_a_revealed_event_shows_its_addresses_once_and_leaves_an_audit_entry(
    site: Site, window: Window, numbers: dict[str, int]
) -> None:
    page = f"/events/{numbers['event']}"
    window.page.goto(page)
    window.page.click("text=Show addresses and body")
    assert ADDRESS in window.page.inner_text("main")
    window.page.goto(page)
    assert ADDRESS not in window.page.inner_text("main")
    assert ("reveal", True) in [(verb, allowed) for _, _, verb, allowed in site.audit()]


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_and_changes_what_it_may(site: Site, numbers: dict[str, int], role: str) -> None:
    browser = site.logged_in(role)
    token = {"csrf_token": site_token(browser)}
    for rule, methods, verb in VERBS_OF_PAGES:
        path = rule.replace("<int:number>", "999999")
        answer = browser.open(path) if "GET" in methods else browser.post(path, token)
        refused = answer.status_code == 403
        assert (rule, methods, refused) == (rule, methods, verb not in ROLES[role])
        assert answer.status_code < 500


def test_nobody_sees_a_page_without_a_log_in(site: Site, numbers: dict[str, int]) -> None:
    for rule, methods, _ in VERBS_OF_PAGES:
        browser = site.browser()
        token = {"csrf_token": site_token(browser, "/login")}
        path = rule.replace("<int:number>", str(numbers["task"]))
        answer = browser.open(path) if "GET" in methods else browser.post(path, token)
        assert (rule, answer.status_code) == (rule, 303)
        assert answer.headers["Location"].startswith("/login")


def site_token(browser: Any, path: str = "/account") -> str:
    """Return the token of a form on a page."""
    return str(browser.open(path).text.split('name="csrf_token" value="')[1].split('"')[0])
