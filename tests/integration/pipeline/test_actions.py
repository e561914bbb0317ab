"""An action is applied once, and gives way to whoever was there first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.pipeline.rig import NORA, TO_NORA, Rig


@pytest.fixture
def tenant(rig: Rig) -> int:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    return tenant


def inbound(rig: Rig, **order: Any) -> dict[str, Any]:
    [event] = rig.send("inbound_received", "cmp_acme", **{"recipients": TO_NORA, **order})
    return event


def action_of(rig: Rig, event: dict[str, Any]) -> tuple[str, str]:
    [row] = rig.sql(
        "SELECT a.state, split_part(a.reason, ':', 1) FROM actions a JOIN events e ON e.id = a.event_id"
        " WHERE e.front_id = %s",
        event["event_id"],
    )
    return row


def patches(rig: Rig) -> int:
    return len([call for call in rig.writes() if call["method"] == "PATCH"])


@pytest.mark.usefixtures("tenant")
def test_a_change_whose_answer_was_lost_is_not_sent_again(rig: Rig) -> None:
    event = inbound(rig)
    rig.control("faults", {"kind": "reset_after", "method": "PATCH", "count": 1})
    rig.record()
    rig.work()
    assert action_of(rig, event)[0] == "intent"
    rig.hurry()
    rig.work()
    assert action_of(rig, event) == ("confirmed", "seen")
    assert patches(rig) == 1


@pytest.mark.usefixtures("tenant")
def test_a_change_that_never_arrived_is_sent_again(rig: Rig) -> None:
    event = inbound(rig)
    rig.control("faults", {"kind": "reset_before", "method": "PATCH", "count": 1})
    rig.record()
    rig.work()
    rig.hurry()
    rig.work()
    assert action_of(rig, event) == ("confirmed", "applied")
    assert rig.status(event["conversation_id"]) == "archived"
    assert rig.control("verdict")["double"] == 0


@pytest.mark.usefixtures("tenant")
def test_what_a_person_reopened_after_a_lost_answer_stays_open(rig: Rig) -> None:
    event = inbound(rig)
    rig.control("faults", {"kind": "reset_after", "method": "PATCH", "count": 1})
    rig.record()
    rig.work()
    rig.control(f"conversations/{event['conversation_id']}/act", {"do": "reopen", "by": "teammate"})
    rig.hurry()
    rig.work()
    assert action_of(rig, event)[0] == "confirmed"
    assert rig.status(event["conversation_id"]) != "archived"
    assert patches(rig) == 1


@pytest.mark.usefixtures("tenant")
def test_a_persons_change_after_a_change_that_never_arrived_wins(rig: Rig) -> None:
    event = inbound(rig)
    rig.control("faults", {"kind": "reset_before", "method": "PATCH", "count": 1})
    rig.record()
    rig.work()
    rig.control(f"conversations/{event['conversation_id']}/act", {"do": "trash", "by": "teammate"})
    rig.hurry()
    rig.work()
    assert action_of(rig, event) == ("superseded", "changed_by_somebody")
    assert rig.status(event["conversation_id"]) == "deleted"


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("recorded_first", [True, False])
def test_a_persons_change_that_was_recorded_supersedes_a_waiting_action(rig: Rig, recorded_first: bool) -> None:
    rig.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1000})
    event = inbound(rig, attachment_count=1)
    if recorded_first:
        rig.record()
        rig.work()
    rig.control(f"conversations/{event['conversation_id']}/act", {"do": "archive", "by": "teammate", "webhook": True})
    _wait_for_delivery(rig, 1 if recorded_first else 2)
    rig.record()
    rig.work()
    assert action_of(rig, event) == ("superseded", "changed_by_somebody")
    assert patches(rig) == 0


@pytest.mark.usefixtures("tenant")
def test_equal_actions_of_one_conversation_are_done_by_the_newest(rig: Rig) -> None:
    first = inbound(rig)
    second = inbound(rig, conversation=first["conversation_id"])
    rig.record()
    rig.work()
    assert action_of(rig, first) == ("superseded", "coalesced")
    assert action_of(rig, second) == ("confirmed", "applied")
    assert patches(rig) == 1


def test_different_actions_of_one_conversation_are_done_in_order(rig: Rig, tenant: int) -> None:
    rig.user(tenant, "tagged@acme.example", action="tag:tag_abc")
    tags = rig.control("companies", {"id": "cmp_acme", "name": "Acme"})["tags"]
    rig.sql("UPDATE users SET action = %s WHERE external_id = 'tagged@acme.example'", f"tag:{tags[0]['id']}")
    first = inbound(rig, recipients=[{"handle": "tagged@acme.example", "role": "to"}])
    second = inbound(rig, conversation=first["conversation_id"])
    rig.record()
    for _ in range(3):
        rig.work()
        rig.hurry()
    assert action_of(rig, first) == ("confirmed", "applied")
    assert action_of(rig, second) == ("confirmed", "applied")
    assert [call["method"] for call in rig.writes()] == ["POST", "PATCH"]


@pytest.mark.usefixtures("tenant")
def test_a_merged_conversation_is_followed_once_by_hand(rig: Rig) -> None:
    event = inbound(rig)
    rig.control("faults", {"kind": "merged_301", "path_regex": event["conversation_id"]})
    rig.record()
    rig.work()
    assert action_of(rig, event)[0] == "confirmed"
    assert rig.status(event["conversation_id"]) == "archived"
    assert rig.one("SELECT count(*)::int FROM merged_conversations") == 1


@pytest.mark.usefixtures("tenant")
def test_an_event_older_than_a_minute_is_looked_at_before_anything_is_changed(rig: Rig) -> None:
    event = inbound(rig)
    rig.control(f"conversations/{event['conversation_id']}/act", {"do": "archive", "by": "teammate"})
    rig.record()
    for table in ("actions", "events"):
        rig.sql(f"UPDATE {table} SET emitted_at = emitted_at - interval '61 seconds'")
    rig.work()
    assert action_of(rig, event) == ("confirmed", "seen")
    assert patches(rig) == 0


@pytest.mark.parametrize(
    ("policy", "state", "reason"),
    [
        ({"action": "none"}, "skipped", "no_action"),
        ({"act_within": "1 second"}, "skipped", "too_old"),
    ],
)
def test_nothing_is_done_that_the_policy_does_not_want(
    rig: Rig, tenant: int, policy: dict[str, str], state: str, reason: str
) -> None:
    for name, value in policy.items():
        rig.sql(f"UPDATE tenants SET {name} = %s WHERE id = %s", value, tenant)
    event = inbound(rig, emitted_at=_seconds_ago(rig, 5))
    rig.record()
    rig.work()
    assert action_of(rig, event) == (state, reason)
    assert rig.one("SELECT state FROM events") == "done"
    assert patches(rig) == 0


@pytest.mark.usefixtures("tenant")
def test_an_event_of_before_the_connection_is_recorded_and_never_acted_on(rig: Rig) -> None:
    event = inbound(rig, emitted_at=_seconds_ago(rig, 7_200))
    rig.record()
    rig.work()
    assert action_of(rig, event) == ("skipped", "too_old")
    assert patches(rig) == 0


@pytest.mark.usefixtures("tenant")
def test_a_message_for_nobody_leaves_its_conversation_alone(rig: Rig) -> None:
    event = inbound(rig, recipients=[{"handle": "stranger@acme.example", "role": "to"}])
    rig.record()
    rig.work()
    assert action_of(rig, event) == ("skipped", "nobody_matched")
    assert rig.sql("SELECT role, user_id, reason FROM recipients WHERE role = 'to'") == [
        ("to", None, "no user with stranger@acme.example")
    ]


@pytest.mark.usefixtures("tenant")
def test_a_conversation_that_is_gone_fails_the_action_with_its_code(rig: Rig) -> None:
    event = inbound(rig)
    rig.control("faults", {"kind": "404_heals", "method": "PATCH", "count": 1000})
    rig.record()
    rig.work()
    assert action_of(rig, event)[0] == "failed"
    assert rig.sql("SELECT state, cause FROM events") == [("failed", "conversation_gone")]


def _seconds_ago(rig: Rig, seconds: float) -> float:
    return float(rig.one("SELECT extract(epoch FROM now())::float8")) - seconds


def _wait_for_delivery(rig: Rig, depth: int) -> None:
    for _ in range(200):
        if rig.resources.intake.depth() >= depth:
            return
        rig.resources.stop.wait(0.02)
    raise AssertionError("the webhook did not arrive")


def test_a_file_that_came_after_an_unclear_trash_is_stored_before_it_is_tried_again(rig: Rig, tenant: int) -> None:
    rig.sql("UPDATE tenants SET action = 'trash' WHERE id = %s", tenant)
    first = inbound(rig)
    rig.control("faults", {"kind": "reset_before", "method": "PATCH", "count": 1})
    rig.record()
    rig.work()
    rig.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    rig.send("outbound_sent", "cmp_acme", conversation=first["conversation_id"], attachment_count=1)
    rig.record()
    rig.hurry()
    rig.work()
    assert rig.status(first["conversation_id"]) != "deleted"
    assert rig.one("SELECT state FROM actions LIMIT 1") == "planned"
