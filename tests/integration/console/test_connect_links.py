"""The command creates one valid link for a tenant; the database does not hold its text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from console.issued_secrets import digest_of
from shared.db.tenants import consent

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.conftest import Mailroom


@pytest.fixture
def acme(mailroom: Mailroom, environment: dict[str, str]) -> str:
    """A tenant without a connection, and an OAuth app to connect it with."""
    environment |= {
        "FRONT_CLIENT_ID": "an-app",
        "FRONT_CLIENT_SECRET": "its-secret",
        "PUBLIC_URL": "https://m.example/",
    }
    mailroom("tenant", "add", "Acme")
    return "Acme"


def states(conn: psycopg.Connection, *urls: str) -> list[str | None]:
    found = [consent.find_link(conn, digest_of(url.rpartition("/")[2])) for url in urls]
    return [link and link.state for link in found]


def test_a_link_is_absolute_and_good_for_seven_days(mailroom: Mailroom, acme: str) -> None:
    made = mailroom.json("tenant", "connect", acme)
    assert (made["tenant"], made["url"].rpartition("/")[0]) == ("Acme", "https://m.example/connect")
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


def test_the_link_alone_is_on_stdout(mailroom: Mailroom, acme: str) -> None:
    told = mailroom("tenant", "connect", acme, "--valid", "2h")
    assert told.stdout.startswith("https://m.example/connect/")
    assert len(told.stdout.split()) == 1


def test_a_newer_link_of_the_same_tenant_ends_the_older_ones(
    mailroom: Mailroom, acme: str, conn: psycopg.Connection
) -> None:
    mailroom("tenant", "add", "Other")
    first, second = (mailroom.json("tenant", "connect", acme)["url"] for _ in range(2))
    others = mailroom.json("tenant", "connect", "Other")["url"]
    assert states(conn, first, second, others, "/unknown") == ["replaced", "open", "open", None]


def test_a_link_ends_with_its_time(mailroom: Mailroom, acme: str, conn: psycopg.Connection) -> None:
    url = mailroom.json("tenant", "connect", acme)["url"]
    conn.execute("UPDATE connect_links SET expires_at = now()")
    assert states(conn, url) == ["expired"]


def test_the_text_of_a_link_is_not_in_the_database(mailroom: Mailroom, acme: str, conn: psycopg.Connection) -> None:
    token = mailroom.json("tenant", "connect", acme)["url"].rpartition("/")[2]
    assert len(token) >= 43
    rows = conn.execute("SELECT connect_links::text FROM connect_links").fetchall()
    assert rows
    assert token not in str(rows)


def test_a_link_that_never_worked_is_a_usage_error(mailroom: Mailroom, acme: str) -> None:
    mailroom("tenant", "connect", acme, "--valid", "0d", code=2)


def test_the_command_that_comes_next_can_be_typed_as_it_stands(mailroom: Mailroom) -> None:
    said = mailroom("tenant", "add", "Customer Ltd").output
    assert "`mailroom tenant connect 'Customer Ltd'`" in said
