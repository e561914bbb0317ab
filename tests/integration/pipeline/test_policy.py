"""A policy prevents actions: in other inboxes, as a dry run, and for events from before its change."""

from __future__ import annotations

from typing import Any

import pytest

from shared.queue import RUN_TASK
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness
from workers.sweeping.periodic_jobs import periodic_jobs


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    return tenant


def inboxes(harness: Harness) -> list[str]:
    """Return the inboxes of the company; mail arrives in the first one."""
    return [inbox.id for inbox in harness.sandbox.front.world.companies["cmp_acme"].inboxes]


def receive(harness: Harness, **order: Any) -> str:
    """Send a mail to Nora and process it; return its conversation."""
    [event] = harness.send("inbound_received", "cmp_acme", **{"recipients": TO_NORA, **order})
    harness.record()
    harness.work()
    conversation: str = event["conversation_id"]
    return conversation


def action_of(harness: Harness, conversation: str) -> tuple[str, str]:
    [row] = harness.sql("SELECT state, reason FROM actions WHERE conversation_id = %s", conversation)
    return row


@pytest.mark.parametrize("fault", [None, "no_recipients", "preview"])
def test_mail_of_an_inbox_the_policy_is_for_is_acted_on(harness: Harness, tenant: int, fault: str | None) -> None:
    harness.sql("UPDATE tenants SET only_inboxes = %s WHERE id = %s", [inboxes(harness)[0], "inb_another"], tenant)
    conversation = receive(harness, fault=fault)
    assert harness.status(conversation) == "archived"


@pytest.mark.parametrize("fault", [None, "no_recipients"])
def test_mail_of_another_inbox_is_matched_and_its_files_kept_without_an_action(
    harness: Harness, tenant: int, fault: str | None
) -> None:
    harness.sql("UPDATE tenants SET only_inboxes = %s WHERE id = %s", [inboxes(harness)[1]], tenant)
    conversation = receive(harness, fault=fault, attachment_count=1)
    assert action_of(harness, conversation) == ("skipped", f"other_inbox: the policy is not for {inboxes(harness)[0]}")
    assert harness.one("SELECT count(*)::int FROM recipients WHERE user_id IS NOT NULL") == 1
    assert harness.sql("SELECT state FROM attachments") == [("stored",)]
    assert harness.one("SELECT state FROM events") == "done"
    assert harness.writes() == []


@pytest.mark.parametrize("age", [0, 61], ids=["fresh", "older than a minute"])
@pytest.mark.parametrize(("action", "would_have"), [("archive", "archived"), ("trash", "trashed")])
def test_a_dry_run_does_everything_but_the_change(
    harness: Harness, tenant: int, action: str, would_have: str, age: int
) -> None:
    harness.sql("UPDATE tenants SET dry_run = true, action = %s WHERE id = %s", action, tenant)
    emitted = harness.one("SELECT extract(epoch FROM now())::float8") - age
    conversation = receive(harness, attachment_count=2, emitted_at=emitted)
    assert action_of(harness, conversation) == ("skipped", f"dry_run: would have {would_have} {conversation}")
    assert harness.sql("SELECT DISTINCT state FROM attachments") == [("stored",)]
    assert harness.one("SELECT state FROM events") == "done"
    assert harness.writes() == []
    assert harness.status(conversation) not in {"archived", "deleted"}


def test_a_dry_run_gives_way_like_the_action_it_stands_for(harness: Harness, tenant: int) -> None:
    harness.sql("UPDATE tenants SET dry_run = true WHERE id = %s", tenant)
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    conversation = receive(harness, attachment_count=1)
    assert action_of(harness, conversation)[0] == "planned"
    harness.clear_faults()
    harness.control(f"conversations/{conversation}/act", {"do": "archive", "by": "teammate"})
    harness.sql("UPDATE actions SET emitted_at = emitted_at - interval '61 seconds'")
    harness.make_due()
    harness.work()
    assert action_of(harness, conversation) == ("confirmed", "seen: the conversation is archived")
    assert harness.writes() == []


def test_an_action_planned_as_a_dry_run_stays_one(harness: Harness, tenant: int) -> None:
    harness.sql("UPDATE tenants SET dry_run = true WHERE id = %s", tenant)
    [event] = harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.sql("UPDATE tenants SET dry_run = false WHERE id = %s", tenant)
    harness.work()
    assert action_of(harness, event["conversation_id"])[0] == "skipped"
    assert harness.status(receive(harness)) == "archived"


def test_a_dry_run_never_stands_in_for_a_change_that_was_planned_before(harness: Harness, tenant: int) -> None:
    [first] = harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.sql("UPDATE tenants SET dry_run = true WHERE id = %s", tenant)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, conversation=first["conversation_id"])
    harness.record()
    for _ in range(2):
        harness.work()
        harness.make_due()
    assert harness.sql("SELECT state, dry_run FROM actions ORDER BY event_id") == [
        ("confirmed", False),
        ("skipped", True),
    ]
    assert len(harness.writes()) == 1


def test_a_changed_policy_runs_no_old_event_again(harness: Harness, tenant: int) -> None:
    harness.sql("UPDATE tenants SET action = 'none' WHERE id = %s", tenant)
    conversations = [receive(harness, attachment_count=count) for count in (0, 1)]
    before = harness.sql("SELECT count(*)::int, max(id) FROM tasks")
    harness.sql("UPDATE tenants SET action = 'archive', only_when_matched = false WHERE id = %s", tenant)
    harness.sweep(*(job.name for job in periodic_jobs()))
    harness.messages.sent = [message for message in harness.messages.sent if message[0] == RUN_TASK]
    harness.work()
    assert harness.sql("SELECT count(*)::int, max(id) FROM tasks") == before
    assert harness.sql("SELECT DISTINCT kind, state FROM actions") == [("none", "skipped")]
    assert {harness.status(conversation) for conversation in conversations}.isdisjoint({"archived", "deleted"})
    assert harness.writes() == []
