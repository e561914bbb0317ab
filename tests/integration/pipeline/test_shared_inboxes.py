"""Mail to a shared inbox is matched to its user and acted on, from the webhook to the action."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.pipeline.harness import Harness

ACME, OTHER = "cmp_acme", "cmp_other"
SUPPORT = "support@acme.example"
TO_SUPPORT = [{"handle": "Support@acme.example", "role": "to"}]


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(database, redis_db, tmp_path / "files")
    yield harness
    harness.close()


def share(harness: Harness, tenant: int, address: str, user: int | None) -> None:
    harness.sql(
        "INSERT INTO inbox_addresses (tenant_id, address, as_given, inbox_id, inbox_name, user_id)"
        " VALUES (%s, %s, %s, 'inb_1', 'Support', %s)",
        tenant,
        address,
        address,
        user,
    )


def matched(harness: Harness) -> list[tuple[Any, ...]]:
    return harness.sql("SELECT user_id, reason FROM recipients WHERE role = 'to' ORDER BY event_id")


def test_mail_to_a_shared_inbox_is_matched_and_acted_on_as_its_user_chose(harness: Harness) -> None:
    tenant = harness.tenant(ACME, only_when_matched=True)
    nora = harness.user(tenant, "nora@acme.example", action="trash")
    share(harness, tenant, SUPPORT, nora)
    [event] = harness.send("inbound_received", ACME, recipients=TO_SUPPORT, expect="deleted")
    harness.record()
    harness.work()
    reason = "to Support@acme.example = shared inbox Support → user nora@acme.example"
    assert matched(harness) == [(nora, reason)]
    assert harness.status(event["conversation_id"]) == "deleted"
    verdict = harness.control("verdict")
    assert (verdict["lost"], verdict["double"], verdict["ghost"]) == (0, 0, 0)


def test_a_message_that_was_fetched_is_matched_through_a_shared_inbox_too(harness: Harness) -> None:
    tenant = harness.tenant(ACME)
    nora = harness.user(tenant, "nora@acme.example")
    harness.sql("UPDATE tenants SET default_owner = %s", nora)
    share(harness, tenant, SUPPORT, None)
    harness.send("inbound_received", ACME, recipients=TO_SUPPORT, fault="no_recipients", expect="archived")
    harness.record()
    harness.work()
    reason = "to Support@acme.example = shared inbox Support → default owner, user nora@acme.example"
    assert matched(harness) == [(nora, reason)]


def test_the_user_with_the_address_comes_before_the_inbox_with_it(harness: Harness) -> None:
    tenant = harness.tenant(ACME)
    nora, omar = harness.user(tenant, "nora@acme.example", SUPPORT), harness.user(tenant, "omar@acme.example")
    share(harness, tenant, SUPPORT, omar)
    harness.send("inbound_received", ACME, recipients=TO_SUPPORT)
    harness.record()
    assert matched(harness) == [(nora, "to Support@acme.example = user nora@acme.example, address 2")]


def test_another_tenants_inbox_of_the_same_address_is_nobodys_here(harness: Harness) -> None:
    tenant, other = harness.tenant(ACME), harness.tenant(OTHER, "Other")
    share(harness, other, SUPPORT, harness.user(other, "olga@other.example"))
    harness.sql(
        "UPDATE tenants SET default_owner = %s WHERE id = %s", harness.user(tenant, "nora@acme.example"), tenant
    )
    harness.send("inbound_received", ACME, recipients=TO_SUPPORT)
    harness.record()
    assert matched(harness) == [(None, "no user with support@acme.example")]


def test_history_keeps_its_reason_when_the_user_goes(harness: Harness) -> None:
    tenant = harness.tenant(ACME)
    nora = harness.user(tenant, "nora@acme.example")
    harness.sql("UPDATE tenants SET default_owner = %s", nora)
    share(harness, tenant, SUPPORT, nora)
    harness.send("inbound_received", ACME, recipients=TO_SUPPORT)
    harness.record()
    reason = "to Support@acme.example = shared inbox Support → user nora@acme.example"
    harness.sql("UPDATE users SET active = false")
    assert matched(harness) == [(nora, reason)]
    harness.sql("DELETE FROM users")
    assert matched(harness) == [(None, reason)]
    assert harness.sql(
        "SELECT i.user_id, t.default_owner FROM inbox_addresses i JOIN tenants t ON t.id = i.tenant_id"
    ) == [(None, None)]
