"""What the tenant's policy keeps from being done: other inboxes, dry runs, and events of before it changed."""

from __future__ import annotations

from typing import Any

import pytest

from shared.queue import RUN_TASK
from tests.integration.pipeline.rig import NORA, TO_NORA, Rig
from workers.sweeping.periodic_jobs import periodic_jobs


@pytest.fixture
def tenant(rig: Rig) -> int:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    return tenant


def inboxes(rig: Rig) -> list[str]:
    """Those of the company; mail comes in the first."""
    return [inbox.id for inbox in rig.sandbox.front.world.companies["cmp_acme"].inboxes]


def receive(rig: Rig, **order: Any) -> str:
    """A mail to Nora, worked through; its conversation."""
    [event] = rig.send("inbound_received", "cmp_acme", **{"recipients": TO_NORA, **order})
    rig.record()
    rig.work()
    conversation: str = event["conversation_id"]
    return conversation


def action_of(rig: Rig, conversation: str) -> tuple[str, str]:
    [row] = rig.sql("SELECT state, reason FROM actions WHERE conversation_id = %s", conversation)
    return row


@pytest.mark.parametrize("fault", [None, "no_recipients", "preview"])
def test_mail_of_an_inbox_the_policy_is_for_is_acted_on(rig: Rig, tenant: int, fault: str | None) -> None:
    rig.sql("UPDATE tenants SET only_inboxes = %s WHERE id = %s", [inboxes(rig)[0], "inb_another"], tenant)
    conversation = receive(rig, fault=fault)
    assert rig.status(conversation) == "archived"


@pytest.mark.parametrize("fault", [None, "no_recipients"])
def test_mail_of_another_inbox_is_matched_and_its_files_kept_without_an_action(
    rig: Rig, tenant: int, fault: str | None
) -> None:
    rig.sql("UPDATE tenants SET only_inboxes = %s WHERE id = %s", [inboxes(rig)[1]], tenant)
    conversation = receive(rig, fault=fault, attachment_count=1)
    assert action_of(rig, conversation) == ("skipped", f"other_inbox: the policy is not for {inboxes(rig)[0]}")
    assert rig.one("SELECT count(*)::int FROM recipients WHERE user_id IS NOT NULL") == 1
    assert rig.sql("SELECT state FROM attachments") == [("stored",)]
    assert rig.one("SELECT state FROM events") == "done"
    assert rig.writes() == []


@pytest.mark.parametrize("age", [0, 61], ids=["fresh", "older than a minute"])
@pytest.mark.parametrize(("action", "would_have"), [("archive", "archived"), ("trash", "trashed")])
def test_a_dry_run_does_everything_but_the_change(
    rig: Rig, tenant: int, action: str, would_have: str, age: int
) -> None:
    rig.sql("UPDATE tenants SET dry_run = true, action = %s WHERE id = %s", action, tenant)
    emitted = rig.one("SELECT extract(epoch FROM now())::float8") - age
    conversation = receive(rig, attachment_count=2, emitted_at=emitted)
    assert action_of(rig, conversation) == ("skipped", f"dry_run: would have {would_have} {conversation}")
    assert rig.sql("SELECT DISTINCT state FROM attachments") == [("stored",)]
    assert rig.one("SELECT state FROM events") == "done"
    assert rig.writes() == []
    assert rig.status(conversation) not in {"archived", "deleted"}


def test_a_dry_run_gives_way_like_the_action_it_stands_for(rig: Rig, tenant: int) -> None:
    rig.sql("UPDATE tenants SET dry_run = true WHERE id = %s", tenant)
    rig.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    conversation = receive(rig, attachment_count=1)
    assert action_of(rig, conversation)[0] == "planned"
    rig.heal()
    rig.control(f"conversations/{conversation}/act", {"do": "archive", "by": "teammate"})
    rig.sql("UPDATE actions SET emitted_at = emitted_at - interval '61 seconds'")
    rig.hurry()
    rig.work()
    assert action_of(rig, conversation) == ("confirmed", "seen: the conversation is archived")
    assert rig.writes() == []


def test_what_was_planned_as_a_dry_run_stays_one(rig: Rig, tenant: int) -> None:
    rig.sql("UPDATE tenants SET dry_run = true WHERE id = %s", tenant)
    [event] = rig.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    rig.record()
    rig.sql("UPDATE tenants SET dry_run = false WHERE id = %s", tenant)
    rig.work()
    assert action_of(rig, event["conversation_id"])[0] == "skipped"
    assert rig.status(receive(rig)) == "archived"


def test_a_dry_run_never_stands_in_for_a_change_that_was_planned_before(rig: Rig, tenant: int) -> None:
    [first] = rig.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    rig.record()
    rig.sql("UPDATE tenants SET dry_run = true WHERE id = %s", tenant)
    rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, conversation=first["conversation_id"])
    rig.record()
    for _ in range(2):
        rig.work()
        rig.hurry()
    assert rig.sql("SELECT state, dry_run FROM actions ORDER BY event_id") == [("confirmed", False), ("skipped", True)]
    assert len(rig.writes()) == 1


def test_a_changed_policy_runs_no_old_event_again(rig: Rig, tenant: int) -> None:
    rig.sql("UPDATE tenants SET action = 'none' WHERE id = %s", tenant)
    conversations = [receive(rig, attachment_count=count) for count in (0, 1)]
    before = rig.sql("SELECT count(*)::int, max(id) FROM tasks")
    rig.sql("UPDATE tenants SET action = 'archive', only_when_matched = false WHERE id = %s", tenant)
    rig.sweep(*(job.name for job in periodic_jobs()))
    rig.messages.sent = [message for message in rig.messages.sent if message[0] == RUN_TASK]
    rig.work()
    assert rig.sql("SELECT count(*)::int, max(id) FROM tasks") == before
    assert rig.sql("SELECT DISTINCT kind, state FROM actions") == [("none", "skipped")]
    assert {rig.status(conversation) for conversation in conversations}.isdisjoint({"archived", "deleted"})
    assert rig.writes() == []
