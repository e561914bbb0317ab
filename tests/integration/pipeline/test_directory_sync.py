"""Teammates and inboxes are synced from Front and mapped, mail to them is matched, and they leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.cli import main
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.oauth import connect_by_oauth, token_answers

ACME = "cmp_acme"


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(database, redis_db, tmp_path / "files")
    yield harness
    harness.close()


def mailroom(harness: Harness, *arguments: str) -> str:
    """Run the command with the servers and the Front of this harness."""
    settings = harness.settings
    environment = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "TOKEN_KEYS": settings.token_keys[0].get_secret_value(),
        "FRONT_API_URL": settings.front_api_url,
        "FRONT_APP_URL": settings.front_app_url,
        "FRONT_CLIENT_ID": settings.front_client_id,
        "FRONT_CLIENT_SECRET": settings.front_client_secret.get_secret_value(),
        "MAILROOM_ENV": None,
    }
    result = CliRunner().invoke(main, arguments, env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout


def company(harness: Harness) -> Any:
    [found] = harness.control("companies")["companies"]
    return found


def send(harness: Harness, address: str) -> str:
    """Send a mail to this address and process it; return its conversation."""
    [event] = harness.send("inbound_received", ACME, recipients=[{"handle": address, "role": "to"}], expect="archived")
    harness.record()
    harness.work()
    return event["conversation_id"]


def reasons(harness: Harness) -> list[str]:
    return [reason for (reason,) in harness.sql("SELECT reason FROM recipients WHERE role = 'to' ORDER BY event_id")]


def test_mail_follows_the_people_of_an_inbox(harness: Harness) -> None:
    harness.tenant(ACME)
    first, second = company(harness)["teammates"][:2]
    address = company(harness)["addresses"][0]
    mailroom(harness, "tenant", "sync-teammates", "Acme")
    mailroom(harness, "tenant", "sync-inboxes", "Acme")
    mailroom(harness, "inbox", "map", address, "--tenant", "Acme", "--user", first["id"])
    mailroom(harness, "inbox", "default", "--tenant", "Acme", "--user", second["id"])
    conversation = send(harness, address)
    assert harness.status(conversation) == "archived"
    harness.control(f"companies/{ACME}/teammates", {"id": first["id"], "is_blocked": True})
    mailroom(harness, "tenant", "sync-teammates", "Acme")
    send(harness, address)
    assert reasons(harness) == [
        f"to {address} = shared inbox Front desk → user {first['id']}",
        f"to {address} = shared inbox Front desk → default owner, user {second['id']}",
    ]
    verdict = harness.control("verdict")
    assert (verdict["lost"], verdict["double"], verdict["ghost"], verdict["wrong_token"]) == (0, 0, 0, 0)


def test_an_oauth_token_that_front_no_longer_takes_is_replaced_for_the_command(harness: Harness) -> None:
    connect_by_oauth(harness, harness.tenant(ACME), ACME)
    harness.control(f"companies/{ACME}/tokens", {"do": "expire"})
    assert "3 added" in mailroom(harness, "tenant", "sync-teammates", "Acme")
    assert token_answers(harness) == [200]
