"""A person downloads a stored file from its event's page, which says what its bytes are, and the audit has an entry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.harness.processes import expect
from shared.storage import Storage
from tests.integration.console.pages.test_every_page import log_in
from tests.integration.console.rows import insert_event
from tests.integration.schema.builders import insert_id

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.integration.console.pages.conftest import Site

CONTENT = b"MZ\x90\x00\x03\x00\x00\x00\x04" + bytes(2**20)
CLAIMED = "application/pdf"
NAME = '../<script>"\u202efdp.exe'


@dataclass(frozen=True, kw_only=True)
class File:
    """A stored file, and its event."""

    number: int
    event: int

    @property
    def page(self) -> str:
        return f"/events/{self.event}"

    @property
    def download(self) -> str:
        return f"/attachments/{self.number}/download"


@pytest.fixture(scope="module")
def file(site: Site) -> File:
    return add(site, "evt_file", state="stored", stored=CONTENT)


def add(site: Site, front_id: str, *, state: str, stored: bytes | None = None, path: str = "1/ab/fil_1") -> File:
    conn = site.conn
    conn.execute("INSERT INTO tenants (name, company_id) VALUES ('Files', 'cmp_files') ON CONFLICT DO NOTHING")
    event = insert_event(conn, front_id=front_id, company="cmp_files")
    [tenant] = conn.execute("SELECT tenant_id FROM events WHERE id = %s", (event,)).fetchone() or (0,)
    columns: dict[str, Any] = {}
    if stored is not None:
        data = site.mailroom.environment["MAILROOM_DATA"]
        Storage(f"file://{Path(str(data)) / 'files'}").put(path, [stored])
        columns = {"size": len(stored), "sha256": hashlib.sha256(stored).hexdigest(), "path": path, "stored_at": "now"}
    number = insert_id(
        conn, "attachments", tenant_id=tenant, event_id=event, conversation_id="cnv_1", front_id="fil_1",
        filename=NAME, content_type=CLAIMED, state=state, **columns,
    )  # fmt: skip
    return File(number=number, event=event)


def test_the_page_says_what_the_sender_claims_and_what_the_bytes_are(site: Site, file: File) -> None:
    browser = site.logged_in("viewer")
    expect(lambda: "by its bytes application/x-msdownload" in browser.open(file.page).text, 30, "the type is found")
    page = browser.open(file.page).text
    assert CLAIMED in page
    assert file.download not in page


def test_a_person_downloads_a_file_under_a_safe_name_and_leaves_an_entry(
    site: Site, file: File, chromium: Browser
) -> None:
    window = log_in(site, chromium, "operator")
    window.page.goto(file.page)
    with window.page.expect_download() as downloading:
        window.page.click("button:text-is('Download')")
    download = downloading.value
    assert Path(download.path()).read_bytes() == CONTENT
    assert set('/\\:<>"\u202e').isdisjoint(download.suggested_filename)
    assert window.complaints == []
    window.context.close()
    target = f"file {file.number} of event {file.event}"
    entries = site.conn.execute("SELECT verb, allowed FROM audit WHERE target = %s", (target,)).fetchall()
    assert entries == [("download", True)]


def test_the_answer_is_no_page(site: Site, file: File) -> None:
    answer = site.logged_in("operator").submit(file.page, to=file.download)
    assert (answer.status_code, answer.content == CONTENT) == (200, True)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox; frame-ancestors 'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_who_may_not_download_is_refused_with_an_entry(site: Site, file: File) -> None:
    answer = site.logged_in("viewer").submit("/account", to=file.download)
    assert answer.status_code == 403
    assert ("download", False) in [(verb, allowed) for _, _, verb, allowed in site.audit()]


def test_a_link_from_elsewhere_downloads_nothing(site: Site, file: File) -> None:
    assert site.logged_in("operator").open(file.download).status_code == 405


@pytest.mark.parametrize(("state", "stored", "status"), [("waiting", None, 409), ("stored", b"gone", 410)])
def test_a_file_that_is_not_there_is_said_in_words(site: Site, state: str, stored: bytes | None, status: int) -> None:
    file = add(site, f"evt_{state}_{status}", state=state, stored=stored, path="1/ab/other")
    if stored:
        data = Path(str(site.mailroom.environment["MAILROOM_DATA"]))
        (data / "files/1/ab/other").unlink()
    browser = site.logged_in("operator")
    answer = browser.submit("/account", to=file.download)
    assert (answer.status_code, "The file cannot be downloaded" in answer.text) == (status, True)
    assert browser.open(file.page).status_code == 200
