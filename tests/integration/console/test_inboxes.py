"""Shared inboxes come from Front or by hand, and an operator maps each to a user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    import psycopg

    from sandbox.server import RunningSandbox
    from tests.integration.console.conftest import Mailroom

SYNC = ("tenant", "sync-inboxes", "Acme")
T = ("--tenant", "Acme")


@pytest.fixture
def desk(front: RunningSandbox, acme: str) -> str:
    """The address of Acme's first shared inbox in Front. Acme has two shared inboxes and a private one."""
    company = front.front.ensure_company("cmp_acme", acme, "acme-api-token")
    private = {"name": "Ines", "address": "ines@private.example", "type": "gmail", "is_private": True}
    assert requests.post(f"{front.url}/sandbox/companies/cmp_acme/inboxes", json=private, timeout=10).ok
    return company.inboxes[0].address


@pytest.fixture
def ines(mailroom: Mailroom, acme: str) -> str:
    mailroom("user", "add", *T, "--id", "17", "--name", "Ines", "--email", "ines@acme.example")
    return "17"


def users_by_address(mailroom: Mailroom) -> dict[str, str | None]:
    return {each["address"]: each["user"] for each in mailroom.json("inbox", "list", *T)["addresses"]}


def test_public_addresses_of_shared_inboxes_come_in_once(mailroom: Mailroom, front: RunningSandbox, desk: str) -> None:
    orders = front.front.world.companies["cmp_acme"].inboxes[1].address
    assert mailroom.json(*SYNC)["added"] == 2
    assert users_by_address(mailroom) == {desk: None, orders: None}
    assert {name: number for name, number in mailroom.json(*SYNC).items() if number} == {"unchanged": 2}


def test_a_dry_run_writes_nothing(mailroom: Mailroom, desk: str, conn: psycopg.Connection) -> None:
    would = mailroom(*SYNC, "--dry-run").stdout
    assert desk in would
    assert would.endswith("would be: 2 added, 0 changed, 0 removed, 0 unchanged, 0 left alone\n")
    assert conn.execute("SELECT count(*) FROM inbox_addresses").fetchone() == (0,)


def test_a_mapping_is_kept_by_later_syncs(mailroom: Mailroom, desk: str, ines: str) -> None:
    mailroom("inbox", "map", desk.upper(), *T, "--user", ines)
    assert mailroom.json(*SYNC)["changed"] == 1
    mailroom(*SYNC)
    assert users_by_address(mailroom)[desk.upper()] == ines


def test_an_address_is_mapped_again_and_to_nobody(mailroom: Mailroom, desk: str, ines: str) -> None:
    mailroom(*SYNC)
    assert mailroom("inbox", "map", desk, *T, "--user", ines).stdout == f"{desk} → user 17\n"
    assert users_by_address(mailroom)[desk] == ines
    assert mailroom("inbox", "map", desk, *T, "--nobody").stdout == f"{desk} → the default owner\n"
    assert users_by_address(mailroom)[desk] is None


@pytest.mark.usefixtures("acme")
def test_an_address_named_by_hand_can_be_removed(mailroom: Mailroom) -> None:
    mailroom("inbox", "map", "ap@acme.example", *T, "--nobody")
    assert users_by_address(mailroom) == {"ap@acme.example": None}
    mailroom("inbox", "remove", "AP@acme.example", *T)
    assert users_by_address(mailroom) == {}
    assert "mailroom inbox list" in mailroom("inbox", "remove", "ap@acme.example", *T, code=3).stderr


def test_the_default_owner_is_set_and_unset(mailroom: Mailroom, ines: str) -> None:
    assert mailroom("inbox", "default", *T, "--user", ines).stdout == "default owner: user 17\n"
    assert mailroom.json("inbox", "list", *T)["default_owner"] == ines
    assert mailroom("inbox", "default", *T, "--nobody").stdout == "default owner: nobody\n"
    assert mailroom.json("inbox", "list", *T)["default_owner"] is None


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("command", [("map", "ap@acme.example"), ("default",)])
def test_only_a_user_of_this_tenant_can_stand_for_an_inbox(mailroom: Mailroom, command: tuple[str, ...]) -> None:
    mailroom("tenant", "add", "Other", "--company", "cmp_other")
    mailroom("user", "add", "--tenant", "Other", "--id", "1", "--name", "O", "--email", "o@other.example")
    assert "mailroom user list" in mailroom("inbox", *command, *T, "--user", "1", code=3).stderr
    assert mailroom.json("inbox", "list", *T) == {"default_owner": None, "addresses": []}


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    "words",
    [("map", "ap@acme.example"), ("map", "no address", "--nobody"), ("default", "--user", "1", "--nobody")],
)
def test_half_an_order_is_a_usage_error(mailroom: Mailroom, words: tuple[str, ...]) -> None:
    mailroom("inbox", *words, *T, code=2)


def test_a_missing_permission_is_named(mailroom: Mailroom, front: RunningSandbox, desk: str) -> None:
    requests.post(f"{front.url}/sandbox/faults", json={"kind": "403", "path_regex": "^/channels"}, timeout=10)
    result: Any = mailroom(*SYNC, code=1)
    assert "channels:read" in result.stderr


def test_inboxes_are_listed_for_people(mailroom: Mailroom, desk: str, ines: str, conn: psycopg.Connection) -> None:
    mailroom(*SYNC)
    mailroom("inbox", "map", desk, *T, "--user", ines)
    conn.execute("UPDATE users SET active = false")
    listed = mailroom("inbox", "list", *T).stdout
    assert "Front desk" in listed
    assert "inactive" in listed
    assert "default owner: nobody" in listed
