"""`mailroom listen` shows what the host application gets, here and with a console elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.db.tenants import tenants
from tests.integration.console.api.client import token_for
from tests.integration.console.api.test_messages import announce
from tests.integration.console.conftest import Elsewhere, Mailroom

if TYPE_CHECKING:
    import psycopg


@pytest.fixture
def tenant(acme: str, conn: psycopg.Connection) -> int:
    found = tenants.find(conn, acme)
    assert found
    conn.execute("DELETE FROM outbox")
    return found.id


@pytest.fixture(params=["here", "elsewhere"])
def listening(
    request: pytest.FixtureRequest,
    mailroom: Mailroom,
    environment: dict[str, str | None],
    web_environment: dict[str, str],
) -> Mailroom:
    """The command beside its database, and with the API of a console."""
    if request.param == "here":
        return Mailroom(environment={**environment, "SECRET_KEY": web_environment["SECRET_KEY"]})
    place: Elsewhere = request.getfixturevalue("elsewhere")
    return place.command(token_for(mailroom, "host", "--scope", "messages"))


def begin(conn: psycopg.Connection) -> str:
    """Return the cursor at the beginning of the feed."""
    row = conn.execute("SELECT epoch FROM feed_state").fetchone()
    assert row
    return f"{row[0]}.{0:012d}"


def test_each_notification_is_a_line_for_people(listening: Mailroom, tenant: int, conn: psycopg.Connection) -> None:
    announce(conn, tenant, 1, subject="Quay 4 \x1b[31m")
    conn.execute("INSERT INTO outbox (tenant_id, type, facts) VALUES (%s, 'tenant.paused', '{}')", (tenant,))
    lines = listening("listen", "--after", begin(conn), "--count", 2).stdout.splitlines()
    assert [line.split("  ")[2:5] for line in lines] == [
        ["message.received", "Acme", "for 17"],
        ["tenant.paused", "Acme"],
    ]
    assert "Quay 4" in lines[0]
    assert "\x1b" not in lines[0]
    position = lines[0].split("  ")[0]
    [only] = listening("listen", "--after", position, "--count", 1).stdout.splitlines()
    assert only == lines[1]


def test_each_body_is_a_line_for_programs(listening: Mailroom, tenant: int, conn: psycopg.Connection) -> None:
    for number in (1, 2, 3):
        announce(conn, tenant, number)
    options = ("--after", begin(conn), "--count", 3, "--type", "message.received", "--tenant", "Acme", "--json")
    bodies: list[dict[str, Any]] = [json.loads(line) for line in listening("listen", *options).stdout.splitlines()]
    assert [body["data"]["front"]["event_id"] for body in bodies] == ["evt_1", "evt_2", "evt_3"]
    assert bodies[0]["data"]["message"]["text"] == "Please call."


def test_a_position_that_is_none_is_refused(mailroom: Mailroom, tenant: int) -> None:
    assert "no position of the feed" in mailroom("listen", "--after", "yesterday", code=2).stderr


def test_a_position_of_another_feed_is_refused(listening: Mailroom, tenant: int) -> None:
    assert "the feed was restored since" in listening("listen", "--after", "fx.000000000001", code=1).stderr
