"""Mail from before the consent is processed after it, and the admin sees the first event after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.console.conftest import Mailroom
from tests.integration.console.console_process import running_console
from tests.integration.pipeline.harness import Harness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.console.connect.browser import Browser

COMPANY, NORA = "cmp_acme", "nora@acme.example"
MAIL: dict[str, Any] = {"recipients": [{"handle": NORA, "role": "to"}, {"handle": "ap@acme.example", "role": "cc"}]}


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(database, redis_db, tmp_path / "files")
    harness.control("companies", {"id": COMPANY, "name": "Acme"})
    yield harness
    harness.close()


@pytest.fixture
def link(harness: Harness, tmp_path: Path) -> Iterator[str]:
    """The link of a tenant with a user and without a company; the console runs."""
    settings = harness.settings
    environment = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "MAILROOM_DATA": str(tmp_path / "data"),
        "TOKEN_KEYS": settings.token_keys[0].get_secret_value(),
        "SECRET_KEY": "a-secret-of-this-test",
        "FRONT_API_URL": settings.front_api_url,
        "FRONT_APP_URL": settings.front_app_url,
        "FRONT_CLIENT_ID": settings.front_client_id,
        "FRONT_CLIENT_SECRET": settings.front_client_secret.get_secret_value(),
    }
    with running_console(tmp_path / "log", environment) as console:
        mailroom = Mailroom(environment={**environment, "PUBLIC_URL": console.url, "NO_COLOR": "1"})
        mailroom("tenant", "add", "Acme")
        harness.user(harness.one("SELECT id FROM tenants"), NORA)
        yield mailroom.json("tenant", "connect", "Acme")["url"]


def work(harness: Harness) -> None:
    harness.record()
    harness.sweep("adopt")
    harness.work()


def test_mail_before_the_consent_is_parked_and_then_done(harness: Harness, link: str, browser: Browser) -> None:
    [event] = harness.send("inbound_received", COMPANY, **MAIL)
    harness.record()
    assert harness.sql("SELECT front_id, state, cause FROM events") == [
        (event["event_id"], "parked", "unknown_company")
    ]
    page = browser.allow(link, COMPANY)
    work(harness)
    assert harness.sql("SELECT front_id, state FROM events") == [(event["event_id"], "done")]
    assert "We are listening" in browser.open(page.address).text  # this event came before the consent


def test_the_first_event_after_the_consent_is_shown_without_its_content(
    harness: Harness, link: str, browser: Browser
) -> None:
    page = browser.allow(link, COMPANY)
    [first] = harness.send("inbound_received", COMPANY, **MAIL)
    harness.send("inbound_received", COMPANY, **MAIL)
    work(harness)
    shown = browser.open(page.address)
    assert (shown.status, shown.refresh) == (200, None)
    for words in (first["event_id"], "inbound_received", "done", "2, of whom 1 is a known user"):
        assert words in shown.text
    assert "@" not in shown.text


def test_the_page_looks_again_while_that_event_is_worked_on(harness: Harness, link: str, browser: Browser) -> None:
    page = browser.allow(link, COMPANY)
    harness.send("inbound_received", COMPANY, **MAIL, attachments=[{"filename": "a.pdf", "size": 10}])
    harness.record()
    shown = browser.open(page.address)
    assert (shown.refresh, "processing" in shown.text) == ("3", True)
