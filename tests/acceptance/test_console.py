"""An admin at work in a browser, against real processes: find what failed, mend it, and see it done."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from bench.harness.processes import wait_until
from tests.acceptance.conftest import running
from tests.chromium import open_window
from tests.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.acceptance.stack import Stack

COMPANY, TENANT = "cmp_console", "Console Goods"
TO = [{"handle": "ines@console.example", "role": "to"}]
PASSWORD = "correct horse battery staple"
WITHIN = 60.0
BULK, FEW = 1_500, 300
APP = {"FRONT_CLIENT_ID": "sandbox-client", "FRONT_CLIENT_SECRET": "sandbox-client-secret"}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack with one tenant whose policy is to archive; Front allows more calls than the jobs make."""
    with running(
        "--requests-per-minute", "600000", "--burst-per-second", "0", MAX_ATTACHMENT_BYTES="2000000", **APP
    ) as stack:
        stack.add_tenant(TENANT, COMPANY, action="archive", people={"ines@console.example": ""})
        yield stack


@pytest.fixture(scope="module", params=[True, False], ids=["with JavaScript", "without JavaScript"])
def page(request: pytest.FixtureRequest, stack: Stack, chromium: Browser) -> Iterator[Page]:
    """The page of an admin who has set a password by the link of the command line."""
    url = f"http://localhost:{stack.environment['CONSOLE_PORT']}"
    window = open_window(chromium, url, java_script_enabled=request.param)
    email = f"{'with' if request.param else 'without'}@example.com"
    window.page.goto(stack.json("admin", "add", email)["link"])
    window.page.fill("#password", PASSWORD)
    window.page.fill("#again", PASSWORD)
    window.page.click("main button")
    yield window.page
    assert window.complaints == []
    window.context.close()


def see(page: Page, text: str, within: float = WITHIN) -> None:
    """Load the page again until it shows the text."""

    def shown() -> bool:
        page.goto(page.url)
        return text in page.inner_text("main")

    assert wait_until(shown, within, every=0.5), page.inner_text("main")


def test_a_failed_download_is_found_mended_and_done(stack: Stack, page: Page) -> None:
    stack.front.fault("redirect_offsite", path_regex="/download/")
    report = stack.front.send("inbound_received", COMPANY, recipients=TO, attachments=[{"size": 3000}])
    event = report["events"][0]["event_id"]
    page.goto("/failed")
    see(page, "unsafe_redirect")
    assert "inside your network" in page.inner_text("main")
    page.click("main a:has-text('unsafe_redirect')")
    page.click("tbody tr:first-child td:nth-child(2) a")
    assert "302" in page.inner_text("main")
    stack.front.heal()
    page.click("main button:has-text('Retry')")
    see(page, "done")
    page.goto(f"/events?q={event}")
    see(page, "action confirmed")
    assert stack.json("event", "show", event)["state"] == "done"


def test_a_discard_asks_for_a_reason_and_keeps_it(stack: Stack, page: Page) -> None:
    stack.front.send("inbound_received", COMPANY, recipients=TO, attachments=[{"size": 3_000_000}])
    page.goto("/tasks?q=state:failed+code:attachment_too_large")
    see(page, "attachment_too_large")
    page.click("tbody tr:first-child td:nth-child(2) a")
    page.fill("#reason", "a film, not mail")
    page.click("main button:has-text('Discard')")
    assert "discarded" in page.inner_text("h1")
    page.click("dd a")
    assert "a film, not mail" in page.inner_text("main")


def test_a_tenant_is_paused_and_goes_on(stack: Stack, page: Page) -> None:
    page.goto("/tenants")
    page.click(f"main a:has-text('{TENANT}')")
    page.click("main button:has-text('Pause')")
    assert "paused" in page.inner_text("h1")
    event = stack.front.send("inbound_received", COMPANY, recipients=TO)["events"][0]["event_id"]
    page.goto("/parked")
    see(page, "Somebody paused the tenant")
    page.goto(f"/events?q={event}")
    assert "parked" in page.inner_text("h1")
    page.goto("/tenants")
    page.click(f"main a:has-text('{TENANT}')")
    page.click("main button:has-text('Resume')")
    page.goto(f"/events?q={event}")
    see(page, "action confirmed")


def test_a_parked_company_is_connected_and_its_mail_released(
    request: pytest.FixtureRequest, stack: Stack, page: Page, chromium: Browser
) -> None:
    number = len(stack.json("tenant", "list"))
    company, name = f"cmp_parked{number}", f"Parked {number}"
    stack.front.create(company)
    event = stack.front.send("inbound_received", company, recipients=TO)["events"][0]["event_id"]
    page.goto("/parked")
    see(page, company)
    row = page.locator("main tr", has_text=company)
    row.locator("input[name=name]").fill(name)
    row.locator("button:has-text('Connect now')").click()
    link = page.inner_text("#link")
    customer = open_window(chromium, link)
    customer.page.goto(link)
    customer.page.click("main button")
    customer.page.select_option("select[name=company]", company)
    customer.page.click("button[value=allow]")
    customer.page.wait_for_url("**/connected")
    assert name in customer.page.inner_text("main")
    assert customer.complaints == []
    customer.context.close()
    page.goto(f"/events?q={event}")
    see(page, "done")


def test_a_copied_webhook_is_taken_by_the_door_and_nothing_is_done_twice(stack: Stack, tmp_path: Path) -> None:
    find_program("curl", package="curl")
    event = stack.front.send("inbound_received", COMPANY, recipients=TO)["events"][0]["event_id"]
    stack.settle(WITHIN)
    command = stack.mailroom("event", "show", event, "--curl").stdout
    sent = subprocess.run(
        ["sh"], input=command.replace("curl", "curl -sS -f", 1), text=True, check=True, timeout=WITHIN
    )
    assert sent.returncode == 0
    stack.mailroom("event", "run-again", event, "--from", "record", "--yes")
    assert wait_until(lambda: len(stack.json("event", "show", event)["deliveries"]) == 2, WITHIN, every=1.0)
    stack.settle(WITHIN)
    shown = stack.json("event", "show", event)
    assert (shown["state"], shown["action"]["state"]) == ("done", "confirmed")
    assert {task["kind"]: task["state"] for task in shown["tasks"]} == {"apply_action": "done", "record": "done"}
    assert stack.front.verdict()["double"] == 0
    fixture = tmp_path / "event.json"
    fixture.write_text(stack.mailroom("event", "show", event, "--fixture").stdout, encoding="utf-8")
    [again] = stack.json("sandbox", "send", "--body", str(fixture), "--company", COMPANY)["events"]
    stack.settle(WITHIN)
    assert [each["role"] for each in stack.json("event", "show", again["event_id"])["recipients"]] == [
        each["role"] for each in shown["recipients"]
    ]


@pytest.mark.timeout(900)
def test_many_tasks_are_retried_as_a_job(request: pytest.FixtureRequest, stack: Stack, page: Page) -> None:
    bulk = BULK if request.node.callspec.params["page"] else FEW
    _fail_many(stack, bulk)
    page.goto("/tasks?q=state:failed+code:made_up")
    page.check("input[value=all]")
    page.click("main button:has-text('Plan a retry')")
    _fail_many(stack, 1)  # after the plan: it is not in the job
    assert f"{bulk:,} tasks" in page.inner_text("main")
    job = page.url
    page.click("main button:has-text('Start')")
    if bulk == BULK:  # fewer would be done before anybody could pause them
        _pause_and_resume(page, job)
    assert wait_until(lambda: _state(page, job) == "done", 8 * WITHIN, every=2.0), page.inner_text("main")
    left = stack.rows("SELECT state, count(*)::int FROM tasks WHERE detail = 'made up' OR code = 'made_up' GROUP BY 1")
    counts = dict(left)
    assert (counts.pop("failed"), counts.keys() - {"done", "discarded"}) == (1, set())
    page.goto("/tasks?q=state:failed+code:made_up")
    page.check("input[value=all]")
    page.fill("#why", "made up")
    page.click("main button:has-text('Plan a discard')")
    page.click("main button:has-text('Cancel')")
    assert "cancelled" in page.inner_text("main")
    stack.mailroom("task", "discard", "--code", "made_up", "--reason", "made up", "--yes")


def _pause_and_resume(page: Page, job: str) -> None:
    assert wait_until(lambda: _settled(page, job) > 0, WITHIN), page.inner_text("main")
    page.click("main button:has-text('Pause')")
    assert "paused" in page.inner_text("h1")
    paused_at = _settled(page, job)
    assert paused_at < BULK
    page.click("main button:has-text('Resume')")
    assert wait_until(lambda: _settled(page, job) > paused_at, WITHIN)
    print(f"console: job of {BULK} tasks, paused at {paused_at}")


def _settled(page: Page, job: str) -> int:
    page.goto(job)
    found = re.search(r"([\d,]+) of ([\d,]+) tasks", page.inner_text("main"))
    assert found
    return int(found[1].replace(",", ""))


def _state(page: Page, job: str) -> str:
    page.goto(job)
    return page.inner_text("h1 .badge")


def _fail_many(stack: Stack, count: int) -> None:
    """Add failed downloads of a file that Front has, each in a conversation of its own."""
    with psycopg.connect(stack.published()["DATABASE_URL"]) as conn:
        values: dict[str, Any] = {"count": count, "company": COMPANY}
        conn.execute(
            """
            WITH made AS (
                INSERT INTO events (company_id, front_id, tenant_id, type, conversation_id, message_id, received_at,
                                    emitted_at, state)
                SELECT t.company_id, 'evt_made' || gen_random_uuid(), t.id, 'inbound_received',
                       'cnv_made' || gen_random_uuid(), 'msg_made', now(), now(), 'failed'
                FROM tenants t, generate_series(1, %(count)s) WHERE t.company_id = %(company)s RETURNING id, tenant_id,
                conversation_id
            ), files AS (
                INSERT INTO attachments (tenant_id, event_id, conversation_id, front_id, filename, content_type, state)
                SELECT m.tenant_id, m.id, m.conversation_id, a.front_id, a.filename, a.content_type, 'failed'
                FROM made m, (SELECT * FROM attachments WHERE state = 'stored' ORDER BY id LIMIT 1) a
                RETURNING id, event_id, tenant_id
            )
            INSERT INTO tasks (tenant_id, event_id, attachment_id, kind, state, code, detail, attempts, settled_at)
            SELECT tenant_id, event_id, id, 'store_attachment', 'failed', 'made_up', 'made up', 5, now() FROM files
            """,
            values,
        )


def test_a_webhook_is_made_up_on_a_page_and_followed(stack: Stack, page: Page) -> None:
    page.goto("/simulator")
    page.fill("#to", "ines@console.example")
    page.select_option("#company", COMPANY)
    page.click("main button:has-text('Send')")
    page.click("main tbody tr:first-child a")
    see(page, "action confirmed")
