"""An action is applied once, and gives way to changes by people."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.pipeline.harness import NORA, TO_NORA, Harness


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    return tenant


def inbound(harness: Harness, **order: Any) -> dict[str, Any]:
    [event] = harness.send("inbound_received", "cmp_acme", **{"recipients": TO_NORA, **order})
    return event


def action_of(harness: Harness, event: dict[str, Any]) -> tuple[str, str]:
    [row] = harness.sql(
        "SELECT a.state, split_part(a.reason, ':', 1) FROM actions a JOIN events e ON e.id = a.event_id"
        " WHERE e.front_id = %s",
        event["event_id"],
    )
    return row


def patches(harness: Harness) -> int:
    return len([call for call in harness.writes() if call["method"] == "PATCH"])


@pytest.mark.usefixtures("tenant")
def test_a_change_whose_answer_was_lost_is_not_sent_again(harness: Harness) -> None:
    event = inbound(harness)
    harness.control("faults", {"kind": "reset_after", "method": "PATCH", "count": 1})
    harness.record()
    harness.work()
    assert action_of(harness, event)[0] == "intent"
    harness.make_due()
    harness.work()
    assert action_of(harness, event) == ("confirmed", "seen")
    assert patches(harness) == 1


@pytest.mark.usefixtures("tenant")
def test_a_change_that_never_arrived_is_sent_again(harness: Harness) -> None:
    event = inbound(harness)
    harness.control("faults", {"kind": "reset_before", "method": "PATCH", "count": 1})
    harness.record()
    harness.work()
    harness.make_due()
    harness.work()
    assert action_of(harness, event) == ("confirmed", "applied")
    assert harness.status(event["conversation_id"]) == "archived"
    assert harness.control("verdict")["double"] == 0


@pytest.mark.usefixtures("tenant")
def test_a_conversation_reopened_after_a_lost_answer_stays_open(harness: Harness) -> None:
    event = inbound(harness)
    harness.control("faults", {"kind": "reset_after", "method": "PATCH", "count": 1})
    harness.record()
    harness.work()
    harness.control(f"conversations/{event['conversation_id']}/act", {"do": "reopen", "by": "teammate"})
    harness.make_due()
    harness.work()
    assert action_of(harness, event)[0] == "confirmed"
    assert harness.status(event["conversation_id"]) != "archived"
    assert patches(harness) == 1


@pytest.mark.usefixtures("tenant")
def test_a_persons_change_after_a_change_that_never_arrived_wins(harness: Harness) -> None:
    event = inbound(harness)
    harness.control("faults", {"kind": "reset_before", "method": "PATCH", "count": 1})
    harness.record()
    harness.work()
    harness.control(f"conversations/{event['conversation_id']}/act", {"do": "trash", "by": "teammate"})
    harness.make_due()
    harness.work()
    assert action_of(harness, event) == ("superseded", "changed_by_somebody")
    assert harness.status(event["conversation_id"]) == "deleted"


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("recorded_first", [True, False])
def test_a_persons_change_that_was_recorded_supersedes_a_waiting_action(harness: Harness, recorded_first: bool) -> None:
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1000})
    event = inbound(harness, attachment_count=1)
    if recorded_first:
        harness.record()
        harness.work()
    harness.control(
        f"conversations/{event['conversation_id']}/act", {"do": "archive", "by": "teammate", "webhook": True}
    )
    _wait_for_delivery(harness, 1 if recorded_first else 2)
    harness.record()
    harness.work()
    assert action_of(harness, event) == ("superseded", "changed_by_somebody")
    assert patches(harness) == 0


@pytest.mark.usefixtures("tenant")
def test_equal_actions_of_one_conversation_are_done_by_the_newest(harness: Harness) -> None:
    first = inbound(harness)
    second = inbound(harness, conversation=first["conversation_id"])
    harness.record()
    harness.work()
    assert action_of(harness, first) == ("superseded", "coalesced")
    assert action_of(harness, second) == ("confirmed", "applied")
    assert patches(harness) == 1


def test_different_actions_of_one_conversation_are_done_in_order(harness: Harness, tenant: int) -> None:
    harness.user(tenant, "tagged@acme.example", action="tag:tag_abc")
    tags = harness.control("companies", {"id": "cmp_acme", "name": "Acme"})["tags"]
    harness.sql("UPDATE users SET action = %s WHERE external_id = 'tagged@acme.example'", f"tag:{tags[0]['id']}")
    first = inbound(harness, recipients=[{"handle": "tagged@acme.example", "role": "to"}])
    second = inbound(harness, conversation=first["conversation_id"])
    harness.record()
    for _ in range(3):
        harness.work()
        harness.make_due()
    assert action_of(harness, first) == ("confirmed", "applied")
    assert action_of(harness, second) == ("confirmed", "applied")
    assert [call["method"] for call in harness.writes()] == ["POST", "PATCH"]


@pytest.mark.usefixtures("tenant")
def test_a_merged_conversation_is_followed_once_by_hand(harness: Harness) -> None:
    event = inbound(harness)
    harness.control("faults", {"kind": "merged_301", "path_regex": event["conversation_id"]})
    harness.record()
    harness.work()
    assert action_of(harness, event)[0] == "confirmed"
    assert harness.status(event["conversation_id"]) == "archived"
    assert harness.one("SELECT count(*)::int FROM merged_conversations") == 1


@pytest.mark.usefixtures("tenant")
def test_an_event_older_than_a_minute_is_looked_at_before_anything_is_changed(harness: Harness) -> None:
    event = inbound(harness)
    harness.control(f"conversations/{event['conversation_id']}/act", {"do": "archive", "by": "teammate"})
    harness.record()
    for table in ("actions", "events"):
        harness.sql(f"UPDATE {table} SET emitted_at = emitted_at - interval '61 seconds'")
    harness.work()
    assert action_of(harness, event) == ("confirmed", "seen")
    assert patches(harness) == 0


@pytest.mark.parametrize(
    ("policy", "state", "reason"),
    [
        ({"action": "none"}, "skipped", "no_action"),
        ({"act_within": "1 second"}, "skipped", "too_old"),
    ],
)
def test_nothing_is_done_that_the_policy_does_not_want(
    harness: Harness, tenant: int, policy: dict[str, str], state: str, reason: str
) -> None:
    for name, value in policy.items():
        harness.sql(f"UPDATE tenants SET {name} = %s WHERE id = %s", value, tenant)
    event = inbound(harness, emitted_at=_seconds_ago(harness, 5))
    harness.record()
    harness.work()
    assert action_of(harness, event) == (state, reason)
    assert harness.one("SELECT state FROM events") == "done"
    assert patches(harness) == 0


@pytest.mark.usefixtures("tenant")
def test_an_event_of_before_the_connection_is_recorded_and_never_acted_on(harness: Harness) -> None:
    event = inbound(harness, emitted_at=_seconds_ago(harness, 7_200))
    harness.record()
    harness.work()
    assert action_of(harness, event) == ("skipped", "too_old")
    assert patches(harness) == 0


@pytest.mark.usefixtures("tenant")
def test_a_message_for_nobody_leaves_its_conversation_alone(harness: Harness) -> None:
    event = inbound(harness, recipients=[{"handle": "stranger@acme.example", "role": "to"}])
    harness.record()
    harness.work()
    assert action_of(harness, event) == ("skipped", "nobody_matched")
    assert harness.sql("SELECT role, user_id, reason FROM recipients WHERE role = 'to'") == [
        ("to", None, "no user with stranger@acme.example")
    ]


@pytest.mark.usefixtures("tenant")
def test_a_conversation_that_is_gone_fails_the_action_with_its_code(harness: Harness) -> None:
    event = inbound(harness)
    harness.control("faults", {"kind": "404_heals", "method": "PATCH", "count": 1000})
    harness.record()
    harness.work()
    assert action_of(harness, event)[0] == "failed"
    assert harness.sql("SELECT state, cause FROM events") == [("failed", "conversation_gone")]


def _seconds_ago(harness: Harness, seconds: float) -> float:
    return float(harness.one("SELECT extract(epoch FROM now())::float8")) - seconds


def _wait_for_delivery(harness: Harness, depth: int) -> None:
    for _ in range(200):
        if harness.resources.intake.depth() >= depth:
            return
        harness.resources.stop.wait(0.02)
    raise AssertionError("the webhook did not arrive")


def test_a_file_that_came_after_an_unclear_trash_is_stored_before_it_is_tried_again(
    harness: Harness, tenant: int
) -> None:
    harness.sql("UPDATE tenants SET action = 'trash' WHERE id = %s", tenant)
    first = inbound(harness)
    harness.control("faults", {"kind": "reset_before", "method": "PATCH", "count": 1})
    harness.record()
    harness.work()
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    harness.send("outbound_sent", "cmp_acme", conversation=first["conversation_id"], attachment_count=1)
    harness.record()
    harness.make_due()
    harness.work()
    assert harness.status(first["conversation_id"]) != "deleted"
    assert harness.one("SELECT state FROM actions LIMIT 1") == "planned"
