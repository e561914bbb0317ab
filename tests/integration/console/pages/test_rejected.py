"""Requests that a real door rejects are shown on the page, by the API and by the command, and raise an alarm."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
import redis

from bench.harness.processes import wait_until
from tests.integration.console.api.client import token_for
from tests.integration.door.door_process import running_door

if TYPE_CHECKING:
    from tests.integration.console.pages.conftest import Site

WRONG = {"X-Front-Signature": "A" * 43 + "=", "X-Front-Request-Timestamp": str(int(time.time() * 1000))}


@pytest.fixture(scope="module")
def rejecting(site: Site, database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A Mailroom whose door got six webhooks with a wrong signature and one at another path."""
    client = redis.Redis.from_url(redis_url)
    for key in client.scan_iter("mailroom:rejected:*"):
        client.delete(key)
    site.conn.execute("TRUNCATE minute_figures")
    log = tmp_path_factory.mktemp("door") / "door.log"
    with running_door(database_url, redis_url, log) as door:
        for _ in range(6):
            door.request("POST", "/webhooks/front", b"the-secret-subject", WRONG)
        door.request("POST", "/webhook", b"{}", WRONG)
        assert wait_until(lambda: counts(site) == {"invalid_signature": 6, "not_found": 1}, seconds=30)
    client.close()
    return site


def counts(site: Site) -> dict[str, int]:
    return {each["reason"]: each["last_hour"] for each in site.mailroom.json("rejected")["reasons"]}


def test_the_page_says_why_and_what_to_do(rejecting: Site) -> None:
    page = rejecting.logged_in("viewer").open("/rejected").text
    text = " ".join(re.sub(r"<[^>]+>", " ", page.partition("<main")[2]).split())
    assert "invalid_signature Last hour 6 Last 24 hours 6" in text
    assert "put the new key first in FRONT_SIGNING_KEYS" in text
    assert "127.0.0.0/24 18 bytes X-Front-Signature does not fit the request" in text
    assert "correct the webhook URL of the app in Front" in text
    assert "secret-subject" not in page


def test_the_api_has_the_document_of_the_command(rejecting: Site) -> None:
    token = token_for(rejecting.mailroom, "reads", "--scope", "read")
    browser = rejecting.browser()
    answer = browser.open("/api/v1/rejected", Authorization=f"Bearer {token}")
    assert (answer.status_code, answer.json()) == (200, rejecting.mailroom.json("rejected"))


def test_a_token_of_one_tenant_does_not_see_them(rejecting: Site) -> None:
    rejecting.mailroom("tenant", "add", "Rejecting", "--company", "cmp_rejecting")
    token = token_for(rejecting.mailroom, "bound", "--scope", "read", "--tenant", "Rejecting")
    answer = rejecting.browser().open("/api/v1/rejected", Authorization=f"Bearer {token}")
    assert (answer.status_code, answer.json()["code"]) == (403, "token_of_one_tenant")


def test_the_command_prints_reasons_and_samples(rejecting: Site) -> None:
    lines = rejecting.mailroom("rejected").stdout
    assert re.search(r"invalid_signature +6 +6 +If the app's", lines)
    assert "127.0.0.0/24" in lines


def test_doctor_names_the_wrong_signatures(rejecting: Site) -> None:
    checks = {each["name"]: each for each in rejecting.mailroom.json("doctor", code=1)["checks"]}
    assert (checks["signatures"]["ok"], checks["signatures"]["found"].partition(" ")[0]) == (False, "6")
    assert "FRONT_SIGNING_KEYS" in checks["signatures"]["fix"]
