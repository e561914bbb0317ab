"""From Front's lists to a matched message: teammates and inboxes are synced, mapped, written to, and leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.cli import main
from tests.integration.pipeline.consent import consent, refreshes
from tests.integration.pipeline.rig import Rig

ACME = "cmp_acme"


@pytest.fixture
def rig(database: str, redis_db: str, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(database, redis_db, tmp_path / "files")
    yield rig
    rig.close()


def mailroom(rig: Rig, *arguments: str) -> str:
    """Run the command against this rig's servers and its Front."""
    settings = rig.settings
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


def company(rig: Rig) -> Any:
    [found] = rig.control("companies")["companies"]
    return found


def send(rig: Rig, address: str) -> str:
    """A mail to this address, recorded and worked on; its conversation."""
    [event] = rig.send("inbound_received", ACME, recipients=[{"handle": address, "role": "to"}], expect="archived")
    rig.record()
    rig.work()
    return event["conversation_id"]


def reasons(rig: Rig) -> list[str]:
    return [reason for (reason,) in rig.sql("SELECT reason FROM recipients WHERE role = 'to' ORDER BY event_id")]


def test_mail_follows_the_people_of_an_inbox(rig: Rig) -> None:
    rig.tenant(ACME)
    first, second = company(rig)["teammates"][:2]
    address = company(rig)["addresses"][0]
    mailroom(rig, "tenant", "sync-teammates", "Acme")
    mailroom(rig, "tenant", "sync-inboxes", "Acme")
    mailroom(rig, "inbox", "map", address, "--tenant", "Acme", "--user", first["id"])
    mailroom(rig, "inbox", "default", "--tenant", "Acme", "--user", second["id"])
    conversation = send(rig, address)
    assert rig.status(conversation) == "archived"
    rig.control(f"companies/{ACME}/teammates", {"id": first["id"], "is_blocked": True})
    mailroom(rig, "tenant", "sync-teammates", "Acme")
    send(rig, address)
    assert reasons(rig) == [
        f"to {address} = shared inbox Front desk → user {first['id']}",
        f"to {address} = shared inbox Front desk → default owner, user {second['id']}",
    ]
    verdict = rig.control("verdict")
    assert (verdict["lost"], verdict["double"], verdict["ghost"], verdict["wrong_token"]) == (0, 0, 0, 0)


def test_an_oauth_token_that_front_no_longer_takes_is_replaced_for_the_command(rig: Rig) -> None:
    consent(rig, rig.tenant(ACME), ACME)
    rig.control(f"companies/{ACME}/tokens", {"do": "expire"})
    assert "3 added" in mailroom(rig, "tenant", "sync-teammates", "Acme")
    assert refreshes(rig) == [200]
