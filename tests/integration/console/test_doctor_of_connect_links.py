"""The doctor checks that links can connect tenants, before a customer tries one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.conftest import Mailroom

APP = {"FRONT_CLIENT_ID": "an-app", "FRONT_CLIENT_SECRET": "canary-secret"}


def checks(mailroom: Mailroom) -> dict[str, bool]:
    found = mailroom.json("doctor", code=1)["checks"]  # the Redis of the tests is not durable
    assert "canary" not in str(found)
    return {check["name"]: check["ok"] for check in found}


@pytest.mark.parametrize(
    ("given", "sound"),
    [
        ({**APP}, True),
        ({"FRONT_CLIENT_ID": "an-app"}, False),
        ({"FRONT_CLIENT_SECRET": "canary-secret"}, False),
        # A private app has neither
        ({}, True),
    ],
)
def test_an_app_has_an_id_and_a_secret(
    mailroom: Mailroom, environment: dict[str, str | None], given: dict[str, str], sound: bool
) -> None:
    environment |= given
    assert checks(mailroom)["oauth app"] is sound


def test_tenants_with_api_tokens_alone_need_no_app(mailroom: Mailroom, acme: str) -> None:
    found = checks(mailroom)
    assert (found["oauth app"], "public url" in found) == (True, False)


def test_a_tenant_that_was_connected_by_a_link_needs_the_app(
    mailroom: Mailroom, acme: str, conn: psycopg.Connection
) -> None:
    conn.execute("UPDATE connections SET kind = 'oauth'")
    assert checks(mailroom)["oauth app"] is False


@pytest.mark.parametrize(
    ("url", "sound"),
    [
        ("https://console.example", True),
        ("http://console.example", False),
        # The sandbox runs on this machine
        ("http://localhost:8081", True),
        ("http://127.0.0.1:8081", True),
    ],
)
def test_people_reach_the_console_by_https_unless_it_is_on_their_machine(
    mailroom: Mailroom, environment: dict[str, str | None], url: str, sound: bool
) -> None:
    environment |= {**APP, "PUBLIC_URL": url}
    assert checks(mailroom)["public url"] is sound
