"""A task's action is changed, and an event runs again or is copied, through the pages: with JavaScript and without."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.console.pages.test_every_page import ADDRESS, HOSTILE, log_in
from tests.integration.console.rows import insert_event, insert_task
from tests.integration.schema.builders import insert, insert_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from playwright.sync_api import Browser, Page

    from tests.chromium import Window
    from tests.integration.console.pages.conftest import Site

COMPANY = "cmp_pages"
NUMBERS = iter(range(1, 1_000))


@pytest.fixture(scope="module")
def tenant(site: Site) -> int:
    return insert_id(site.conn, "tenants", name="Task Pages", company_id=COMPANY, action="archive", connected_at="now")


@pytest.fixture(scope="module", params=[True, False], ids=["with JavaScript", "without JavaScript"])
def window(request: pytest.FixtureRequest, site: Site, chromium: Browser) -> Iterator[Window]:
    """A window of an operator."""
    window = log_in(site, chromium, "operator", java_script_enabled=request.param)
    yield window
    assert window.complaints == []
    window.context.close()


def add_mail(conn: psycopg.Connection[Any], tenant: int, **action: str) -> tuple[int, int]:
    """Add a mail with a stored file and an archive that failed; return the numbers of the event and of its task."""
    front_id = f"evt_{next(NUMBERS)}"
    event = insert_event(conn, company=COMPANY, front_id=front_id, state="failed", conversation_id=f"cnv_{front_id}")
    file = {"tenant_id": tenant, "event_id": event, "conversation_id": f"cnv_{front_id}", "content_type": "text/plain"}
    attachment = insert_id(
        conn, "attachments", **file, front_id="fil_1", filename=f"a {HOSTILE}.pdf", state="stored", size=3,
        declared_size=4, sha256="ab" * 32, path="1/fil_1", stored_at="now",
    )  # fmt: skip
    usual = {"kind": "archive", "state": "failed", "reason": "front_rejected"}
    columns = {"event_id": event, "tenant_id": tenant, "conversation_id": f"cnv_{front_id}", "wait_for": "stored"}
    insert(conn, "actions", **columns, emitted_at="now", settled_at="now", **(usual | action))
    insert_task(conn, event, kind="store_attachment", attachment_id=attachment, state="done", code=None)
    task = insert_task(conn, event, code="bug", detail='  File "x.py", line 1, in work\nZeroDivisionError')
    insert(
        conn, "attempts", task_id=task, epoch=1, worker="worker@a:1", ended_at="now", outcome="failed", code="bug",
        detail='  File "x.py", line 1, in work\nZeroDivisionError', version="0.9.1",
    )  # fmt: skip
    return event, task


def runs_scripts(window: Window) -> bool:
    """Whether the browser runs the scripts of the page."""
    return bool(window.page.evaluate("typeof htmx !== 'undefined'"))


def faults(window: Window) -> list[str]:
    """Return what axe finds serious; it needs scripts itself."""
    return window.serious_faults() if runs_scripts(window) else []


def text(page: Page) -> str:
    return page.inner_text("main")


def test_an_action_is_changed_after_its_difference_was_shown(site: Site, window: Window, tenant: int) -> None:
    event, task = add_mail(site.conn, tenant)
    page = window.page
    page.goto(f"/tasks/{task}")
    page.select_option("#action", "trash")
    page.click("button:has-text('Show the difference')")
    assert (page.inner_text("del"), page.inner_text("ins")) == ("archive", "trash")
    assert "once every file of it is stored" in text(page)
    assert faults(window) == []
    assert site.conn.execute("SELECT kind FROM actions WHERE event_id = %s", (event,)).fetchone() == ("archive",)
    page.click("button:has-text('Change the action and retry')")
    assert f"Task {task} applies trash now." in text(page)
    assert "ready" in page.inner_text("h1")
    audit = site.conn.execute("SELECT before, after FROM audit WHERE target = %s AND allowed", (f"task {task}",))
    assert audit.fetchall() == [({"action": "archive", "state": "failed"}, {"action": "trash"})]


def test_a_tag_is_chosen_by_its_id(site: Site, window: Window, tenant: int) -> None:
    _, task = add_mail(site.conn, tenant)
    page = window.page
    page.goto(f"/tasks/{task}")
    page.select_option("#action", "tag")
    page.fill("input[name=tag]", "tag_x1")
    page.click("button:has-text('Show the difference')")
    assert page.inner_text("ins") == "tag:tag_x1"
    page.goto(f"/tasks/{task}/action?action=tag&tag={'<b>'}")
    assert "is no action" in page.inner_text("body")
    page.goto(f"/tasks/{task}/action?action=archive")
    assert "archive already" in text(page)


def test_an_action_that_front_has_or_may_have_is_not_offered(site: Site, window: Window, tenant: int) -> None:
    for state, reason in (("confirmed", "Front has the change"), ("intent", "nobody knows whether")):
        _, task = add_mail(site.conn, tenant, state=state)
        page = window.page
        page.goto(f"/tasks/{task}")
        assert "The action cannot be changed: " in text(page)
        assert reason in text(page)
        assert page.locator("#action").count() == 0
        page.goto(f"/tasks/{task}/action?action=trash")
        assert reason in text(page)
        assert page.locator("main button").count() == 0


def test_an_edit_of_a_task_that_went_on_meanwhile_is_refused(site: Site, window: Window, tenant: int) -> None:
    _, task = add_mail(site.conn, tenant)
    window.page.goto(f"/tasks/{task}/action?action=trash")
    site.conn.execute("UPDATE tasks SET state = 'running' WHERE id = %s", (task,))
    window.page.click("button:has-text('Change the action and retry')")
    assert f"The action of task {task} stays as it is: it is running." in window.page.inner_text("body")
    assert site.conn.execute("SELECT state FROM tasks WHERE id = %s", (task,)).fetchone() == ("running",)


def test_a_task_shows_its_attempts_with_version_traceback_and_the_way_to_its_log(
    site: Site, window: Window, tenant: int
) -> None:
    event, task = add_mail(site.conn, tenant)
    window.page.goto(f"/tasks/{task}")
    shown = text(window.page)
    assert "attempt 1 on worker@a:1, version 0.9.1" in shown
    assert "Traceback" in shown
    assert "ZeroDivisionError" in shown
    assert f"grep {event:032x}" in shown
    assert faults(window) == []


def test_an_event_runs_again_after_it_was_said_what_happens(site: Site, window: Window, tenant: int) -> None:
    event, _ = add_mail(site.conn, tenant)
    page = window.page
    page.goto(f"/events/{event}")
    step = page.locator("details", has_text="record").first
    step.locator("summary").click()
    assert "matched with today's users" in step.inner_text()
    assert "1 file is downloaded again" in step.inner_text()
    assert faults(window) == []
    step.locator("button").click()
    assert f"Event {event} runs again from record." in text(page)
    rows = site.conn.execute("SELECT kind, state FROM tasks WHERE event_id = %s ORDER BY id", (event,)).fetchall()
    assert rows == [("store_attachment", "done"), ("apply_action", "failed"), ("record", "ready")]


def test_a_run_of_an_event_that_went_on_meanwhile_is_refused(site: Site, window: Window, tenant: int) -> None:
    event, _ = add_mail(site.conn, tenant)
    page = window.page
    page.goto(f"/events/{event}")
    step = page.locator("details", has_text="store_attachment").first
    step.locator("summary").click()
    site.conn.execute("UPDATE tasks SET state = 'running' WHERE event_id = %s", (event,))
    step.locator("button").click()
    assert f"Event {event} has changed meanwhile" in page.inner_text("body")
    page.goto(f"/events/{event}")
    assert "runs right now; wait until it ends" in text(page)
    assert page.locator("main details").count() == 0


def test_an_event_shows_files_with_hash_and_sizes_and_what_its_action_waits_for(
    site: Site, window: Window, tenant: int
) -> None:
    event, task = add_mail(site.conn, tenant, state="planned")
    site.conn.execute("UPDATE tasks SET state = 'ready', due_at = 'infinity' WHERE id = %s", (task,))
    window.page.goto(f"/events/{event}")
    shown = text(window.page)
    assert "ab" * 32 in shown
    assert "announced 4 bytes" in shown
    site.conn.execute("UPDATE attachments SET state = 'waiting' WHERE event_id = %s", (event,))
    site.conn.execute("UPDATE tasks SET state = 'ready' WHERE event_id = %s", (event,))
    window.page.goto(f"/events/{event}")
    assert "It waits for the file a " in text(window.page)


def test_a_body_is_copied_as_a_command_and_as_a_fixture(site: Site, window: Window, tenant: int) -> None:
    event, _ = add_mail(site.conn, tenant)
    body = {
        "type": "inbound_received",
        "authorization": {"id": COMPANY},
        "payload": {
            "conversation": {"subject": f"for {ADDRESS} {HOSTILE}"},
            "target": {"data": {"recipients": [{"handle": ADDRESS, "role": "to"}], "attachments": []}},
        },
    }
    stored = zlib.compress(json.dumps(body, ensure_ascii=False).encode())
    site.conn.execute("UPDATE deliveries SET body = %s WHERE event_id = %s", (stored, event))
    page = window.page
    page.goto(f"/events/{event}")
    page.click("button:has-text('Copy as curl')")
    command = page.inner_text("#copy")
    assert command.startswith("base64 -d <<'BODY' |")  # it has invisible characters
    assert "X-Front-Signature: " in command
    assert "canary-signing-key" not in page.content()
    assert faults(window) == []
    if runs_scripts(window):
        page.context.grant_permissions(["clipboard-write"])
        page.click("button:has-text('Copy')")
        page.wait_for_selector("button:has-text('Copied')")
        assert page.evaluate("getSelection().toString()").strip() == command.strip()
    page.goto(f"/events/{event}")
    page.click("button:has-text('Show addresses and body')")
    assert "Body as received" in text(page)
    assert faults(window) == []
    page.click("button:has-text('Copy as sandbox fixture')")
    fixture = json.loads(page.inner_text("#copy"))
    assert fixture["recipients"] == [{"handle": "person1@example.com", "role": "to"}]
    assert ADDRESS not in page.content()
    assert page.title() != "run"
    assert faults(window) == []
    looked = site.conn.execute(
        "SELECT after FROM audit WHERE target = %s AND verb = 'reveal' ORDER BY id", (f"event {event}",)
    )
    assert looked.fetchall() == [({"shown": each},) for each in ("curl", "body", "fixture")]


def test_a_body_that_cannot_be_copied_says_why(site: Site, window: Window, tenant: int) -> None:
    event, _ = add_mail(site.conn, tenant)
    page = window.page
    long = zlib.compress(b'{"type":"x","authorization":{"id":"cmp_a"},"payload":{"y":"' + b"y" * 600_000 + b'"}}')
    for stored, button, said in (
        (zlib.compress(b"not JSON"), "Copy as sandbox fixture", "makes no fixture"),
        (long, "Copy as curl", "mailroom event show"),
        (None, "Copy as curl", "no longer stored"),
        (None, "Show addresses and body", "From the door to the action"),
    ):
        site.conn.execute("UPDATE deliveries SET body = %s WHERE event_id = %s", (stored, event))
        page.goto(f"/events/{event}")
        page.click(f"button:has-text('{button}')")
        assert said in page.inner_text("body")


def test_a_viewer_is_offered_nothing_of_it(site: Site, chromium: Browser, tenant: int) -> None:
    event, task = add_mail(site.conn, tenant)
    window = log_in(site, chromium, "viewer")
    window.page.goto(f"/events/{event}")
    assert window.page.locator("main button").count() == 0
    window.page.goto(f"/tasks/{task}")
    assert [each.inner_text() for each in window.page.locator("main button").all()] == ["Copy"]  # the grep hint
    window.context.close()
