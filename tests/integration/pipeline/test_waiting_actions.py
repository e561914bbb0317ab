"""Every event that ends the wait of an action wakes it, at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.pipeline.test_actions import action_of, inbound
from workers.attempts.attempt import Attempt
from workers.attempts.run import run_task
from workers.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.pipeline.harness import Harness

NORA = "nora@acme.example"


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    return tenant


@pytest.mark.usefixtures("tenant")
def test_a_persons_change_that_is_recorded_while_the_action_decides_to_wait_is_heard(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    event = inbound(harness, attachment_count=1)
    harness.record()
    harness.sql("UPDATE tasks SET due_at = now() WHERE kind = 'apply_action'")
    harness.send("conversation_archived", "cmp_acme", conversation=event["conversation_id"])
    first_transaction = Attempt.in_locked_conversation

    def decide_then_record(attempt: Attempt, work: Callable[[Any], Any]) -> Any:
        monkeypatch.setattr(Attempt, "in_locked_conversation", first_transaction)
        result = first_transaction(attempt, work)
        harness.record()
        return result

    monkeypatch.setattr(Attempt, "in_locked_conversation", decide_then_record)
    run_task(harness.resources, STEPS, harness.one("SELECT id FROM tasks WHERE kind = 'apply_action'"))
    harness.work()
    assert action_of(harness, event) == ("superseded", "changed_by_somebody")


@pytest.mark.usefixtures("tenant")
def test_an_action_does_not_ask_every_second_for_one_that_is_tried_again_in_an_hour(harness: Harness) -> None:
    first = inbound(harness)
    harness.record()
    harness.sql("UPDATE actions SET kind = 'trash'")
    harness.sql("UPDATE tasks SET state = 'ready', due_at = now() + interval '1 hour'")
    inbound(harness, conversation=first["conversation_id"])
    harness.record()
    harness.work()
    assert harness.sql(
        "SELECT a.state, due_at > now() + interval '50 seconds' FROM actions a JOIN tasks USING (event_id)"
    ) == [
        ("planned", True),
        ("planned", True),
    ]


@pytest.mark.usefixtures("tenant")
def test_a_change_that_lacked_a_token_was_never_intended(harness: Harness) -> None:
    harness.sql("DELETE FROM connections")
    event = inbound(harness)
    harness.record()
    harness.work()
    assert harness.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    assert action_of(harness, event)[0] == "planned"
