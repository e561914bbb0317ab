"""Mail to a shared inbox finds its user, from the webhook to the action."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.pipeline.rig import Rig

ACME, OTHER = "cmp_acme", "cmp_other"
SUPPORT = "support@acme.example"
TO_SUPPORT = [{"handle": "Support@acme.example", "role": "to"}]


@pytest.fixture
def rig(database: str, redis_db: str, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(database, redis_db, tmp_path / "files")
    yield rig
    rig.close()


def share(rig: Rig, tenant: int, address: str, user: int | None) -> None:
    rig.sql(
        "INSERT INTO inbox_addresses (tenant_id, address, as_given, inbox_id, inbox_name, user_id)"
        " VALUES (%s, %s, %s, 'inb_1', 'Support', %s)",
        tenant,
        address,
        address,
        user,
    )


def matched(rig: Rig) -> list[tuple[Any, ...]]:
    return rig.sql("SELECT user_id, reason FROM recipients WHERE role = 'to' ORDER BY event_id")


def test_mail_to_a_shared_inbox_is_matched_and_acted_on_as_its_user_chose(rig: Rig) -> None:
    tenant = rig.tenant(ACME, only_when_matched=True)
    nora = rig.user(tenant, "nora@acme.example", action="trash")
    share(rig, tenant, SUPPORT, nora)
    [event] = rig.send("inbound_received", ACME, recipients=TO_SUPPORT, expect="deleted")
    rig.record()
    rig.work()
    reason = "to Support@acme.example = shared inbox Support → user nora@acme.example"
    assert matched(rig) == [(nora, reason)]
    assert rig.status(event["conversation_id"]) == "deleted"
    verdict = rig.control("verdict")
    assert (verdict["lost"], verdict["double"], verdict["ghost"]) == (0, 0, 0)


def test_a_message_that_was_fetched_is_matched_through_a_shared_inbox_too(rig: Rig) -> None:
    tenant = rig.tenant(ACME)
    nora = rig.user(tenant, "nora@acme.example")
    rig.sql("UPDATE tenants SET default_owner = %s", nora)
    share(rig, tenant, SUPPORT, None)
    rig.send("inbound_received", ACME, recipients=TO_SUPPORT, fault="no_recipients", expect="archived")
    rig.record()
    rig.work()
    reason = "to Support@acme.example = shared inbox Support → default owner, user nora@acme.example"
    assert matched(rig) == [(nora, reason)]


def test_who_owns_the_address_comes_before_the_inbox_it_is_also_an_address_of(rig: Rig) -> None:
    tenant = rig.tenant(ACME)
    nora, omar = rig.user(tenant, "nora@acme.example", SUPPORT), rig.user(tenant, "omar@acme.example")
    share(rig, tenant, SUPPORT, omar)
    rig.send("inbound_received", ACME, recipients=TO_SUPPORT)
    rig.record()
    assert matched(rig) == [(nora, "to Support@acme.example = user nora@acme.example, address 2")]


def test_another_tenants_inbox_of_the_same_address_is_nobodys_here(rig: Rig) -> None:
    tenant, other = rig.tenant(ACME), rig.tenant(OTHER, "Other")
    share(rig, other, SUPPORT, rig.user(other, "olga@other.example"))
    rig.sql("UPDATE tenants SET default_owner = %s WHERE id = %s", rig.user(tenant, "nora@acme.example"), tenant)
    rig.send("inbound_received", ACME, recipients=TO_SUPPORT)
    rig.record()
    assert matched(rig) == [(None, "no user with support@acme.example")]


def test_history_keeps_its_reason_when_the_user_goes(rig: Rig) -> None:
    tenant = rig.tenant(ACME)
    nora = rig.user(tenant, "nora@acme.example")
    rig.sql("UPDATE tenants SET default_owner = %s", nora)
    share(rig, tenant, SUPPORT, nora)
    rig.send("inbound_received", ACME, recipients=TO_SUPPORT)
    rig.record()
    reason = "to Support@acme.example = shared inbox Support → user nora@acme.example"
    rig.sql("UPDATE users SET active = false")
    assert matched(rig) == [(nora, reason)]
    rig.sql("DELETE FROM users")
    assert matched(rig) == [(None, reason)]
    assert rig.sql("SELECT i.user_id, t.default_owner FROM inbox_addresses i JOIN tenants t ON t.id = i.tenant_id") == [
        (None, None)
    ]
