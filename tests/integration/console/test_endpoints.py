"""Endpoints from the command line, beside the database and from elsewhere, with the audit of each change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import SecretStr

from console.key_rotation import key_usage, reseal
from shared.connection.vault import TokenVault
from shared.db.host import endpoints
from tests.integration.console.api.client import token_for
from tests.integration.console.conftest import Elsewhere, Mailroom

if TYPE_CHECKING:
    pass

URL = "https://app.example.com/mailroom?token=not-to-be-shown"


def audit(conn: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return conn.execute(
        "SELECT verb, target, allowed, detail FROM audit WHERE verb = 'endpoints' ORDER BY id"
    ).fetchall()


def test_an_endpoint_is_added_shown_held_released_and_removed(
    command: Mailroom, acme: str, conn: psycopg.Connection[Any]
) -> None:
    made = command("endpoint", "add", "app", URL, "--tenant", acme, "--type", "message.received", "--include", "none")
    assert made.stdout.startswith("whsec_")
    assert "shown only now" in made.stderr
    shown = command.json("endpoint", "show", "app")
    assert (shown["tenant"], shown["types"], shown["include"]) == ("Acme", ["message.received"], "none")
    assert shown["url"] == "https://app.example.com/mailroom?…"
    for arguments in (("list",), ("show", "app"), ("show", str(shown["id"]))):
        said = command("endpoint", *arguments).stdout
        assert "app" in said
        assert "not-to-be-shown" not in said
    assert command("endpoint", "hold", "app").stdout == "app is held\n"
    assert "endpoint_moved_on" in command("endpoint", "hold", "app", code=1).stderr
    assert command.json("endpoint", "show", "app")["held_cause"] == "person"
    assert command("endpoint", "release", "app").stdout == "app is open\n"
    rotated = command("endpoint", "rotate", "app", "--overlap", "2h").stdout
    assert rotated.startswith("whsec_")
    assert rotated != made.stdout
    assert command("endpoint", "remove", "app", "--yes").stdout == "removed app\n"
    assert command.json("endpoint", "list") == []
    details = [(target, allowed) for _, target, allowed, _ in audit(conn)]
    assert details == [("endpoint app", True)] * 5
    assert "not-to-be-shown" not in str(conn.execute("SELECT before, after, detail FROM audit").fetchall())
    assert not any(secret.strip() in str(audit(conn)) for secret in (made.stdout, rotated))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("add", "app", "http://app.example.com/"), 1, "must begin with https"),
        (("add", "app", "https://10.0.0.1/"), 1, "not public"),
        (("add", "17", "https://app.example.com/"), 1, "not a number"),
        (("add", "app", "https://app.example.com/", "--type", "message.lost"), 1, "no type of notification"),
        (("show", "nobody"), 3, "there is no endpoint 'nobody'"),
        (("recover", "nobody", "--since", "1h"), 3, "there is no endpoint"),
    ],
)
def test_a_mistake_is_named(mailroom: Mailroom, arguments: tuple[str, ...], code: int, said: str) -> None:
    assert said in mailroom("endpoint", *arguments, code=code).stderr


def test_names_are_unique(command: Mailroom) -> None:
    command("endpoint", "add", "app", URL)
    assert "endpoint_taken" in command("endpoint", "add", "app", URL, code=1).stderr


def test_a_token_of_one_tenant_sees_and_changes_that_tenants_endpoints_alone(
    mailroom: Mailroom, acme: str, elsewhere: Elsewhere, conn: psycopg.Connection[Any]
) -> None:
    mailroom("endpoint", "add", "of all", URL)
    bound = elsewhere.command(token_for(mailroom, "acme", "--tenant", acme, "--scope", "write"))
    bound("endpoint", "add", "own", URL)
    assert [(each["name"], each["tenant"]) for each in bound.json("endpoint", "list")] == [("own", "Acme")]
    bound("endpoint", "hold", "of all", code=3)
    only_reads = elsewhere.command(token_for(mailroom, "reader"))
    assert "scope_too_small" in only_reads("endpoint", "hold", "own", code=1).stderr
    assert audit(conn)[-1][2] is False


def test_the_secrets_of_endpoints_are_sealed_again_with_the_newest_key(
    mailroom: Mailroom, environment: dict[str, str | None], conn: psycopg.Connection[Any]
) -> None:
    from cryptography.fernet import Fernet

    first = mailroom("endpoint", "add", "app", URL).stdout.strip()
    second = mailroom("endpoint", "rotate", "app").stdout.strip()
    old, new = SecretStr(str(environment["TOKEN_KEYS"])), SecretStr(Fernet.generate_key().decode())
    assert key_usage(conn, TokenVault([new, old])).by_key == (0, 2)
    assert reseal(conn, TokenVault([new, old]), lambda _: None) == 2
    assert key_usage(conn, TokenVault([new])).by_key == (2,)
    owner = endpoints.secret_owner(1)
    opened = {TokenVault([new]).open(owner, each.secret)["secret"] for each in endpoints.sealed_secrets(conn)}
    assert opened == {first, second}


def test_a_secret_that_was_copied_to_another_endpoint_does_not_open(
    mailroom: Mailroom, environment: dict[str, str | None], conn: psycopg.Connection[Any]
) -> None:
    mailroom("endpoint", "add", "app", URL)
    mailroom("endpoint", "add", "other", URL)
    conn.execute("UPDATE endpoints SET secret = (SELECT secret FROM endpoints WHERE name = 'app')")
    usage = key_usage(conn, TokenVault([SecretStr(str(environment["TOKEN_KEYS"]))]))
    [unreadable] = usage.unreadable
    assert unreadable.tenant == "endpoint other"
    assert "belongs to another endpoint" in unreadable.reason
