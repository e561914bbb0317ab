"""An operator undoes the actions of a policy: once, and only where nobody changed the conversation since."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.models import Source
from sandbox.world import Cause, set_tags
from shared.db.reading.tasks import undo_progress
from shared.db.tasks import manual_changes
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness

AN_HOUR = timedelta(hours=1)
NOTHING = {"undone": 0, "stopped": 0, "open": 0, "skipped": {}, "failed": {}}


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    return tenant


def receive(harness: Harness, count: int = 1, **order: Any) -> list[str]:
    """Send and record mails to Nora; return their conversations."""
    events = harness.send("inbound_received", "cmp_acme", **{"recipients": TO_NORA, "count": count, **order})
    harness.record()
    return [event["conversation_id"] for event in events]


def request_undo(harness: Harness, tenant: int, since: datetime | None = None) -> int:
    """Request the undo of all actions of the last hour, or since then."""
    since, asked = since or datetime.now(UTC) - AN_HOUR, 0
    run = harness.resources.pool.run
    while batch := run(lambda conn: manual_changes.conversations_to_undo(conn, tenant, since, size=7)):
        asked += run(
            lambda conn, batch=batch: manual_changes.request_undo(conn, tenant, batch, since=since, who="olga")
        )
    return asked


def undo_outcome(harness: Harness, tenant: int) -> dict[str, Any]:
    return asdict(harness.resources.pool.run(lambda conn: undo_progress(conn, tenant, datetime.now(UTC) - AN_HOUR)))


def finish(harness: Harness) -> None:
    """Work until no task is open. Skip all waits for Front's budget or another task."""
    for _ in range(500):
        harness.work()
        if not harness.one("SELECT count(*)::int FROM tasks WHERE state IN ('ready', 'queued', 'running')"):
            return
        harness.resources.stop.wait(0.05)
        harness.make_due()
    raise AssertionError("the work does not end")


def act(harness: Harness, conversation: str, do: str, **more: str) -> None:
    harness.control(f"conversations/{conversation}/act", {"do": do, **more})


def states(harness: Harness) -> dict[str, int]:
    return dict(harness.sql("SELECT state, count(*)::int FROM actions GROUP BY 1"))


def deletes(harness: Harness) -> int:
    return sum(call["method"] == "DELETE" for call in harness.control("ledger/calls")["calls"])


def test_exactly_what_is_as_we_left_it_is_opened_again(harness: Harness, tenant: int) -> None:
    mine = receive(harness, 20)
    harness.work()
    assert {harness.status(each) for each in mine} == {"archived"}
    act(harness, mine[0], "reopen")
    act(harness, mine[1], "reopen")
    act(harness, mine[1], "archive")
    act(harness, mine[2], "trash")
    act(harness, mine[3], "merge", into=mine[4])
    for each in mine[4:]:
        harness.control(f"conversations/{each}/recall", {})

    assert request_undo(harness, tenant) == 20
    assert harness.one("SELECT count(*)::int FROM tasks WHERE kind = 'undo_action'") == 20
    finish(harness)
    shown = {each: harness.status(each) for each in (*mine[:3], *mine[4:])}
    assert shown == dict.fromkeys((mine[0], *mine[4:]), "open") | {mine[1]: "archived", mine[2]: "deleted"}
    assert undo_outcome(harness, tenant) == NOTHING | {"undone": 16, "skipped": {"changed_by_somebody": 3}}
    assert states(harness) == {"undone": 17, "confirmed": 3}
    assert harness.sql("SELECT DISTINCT state FROM events") == [("done",)]
    assert len(harness.writes()) == 20 + 16
    assert {name: harness.control("verdict")[name] for name in ("lost", "double", "ghost")} == {
        "lost": 0,
        "double": 0,
        "ghost": 0,
    }

    assert request_undo(harness, tenant) == 0
    harness.sweep("dispatch")
    harness.work()
    assert len(harness.writes()) == 20 + 16


def test_undo_restores_trashed_conversations_and_removes_tags(harness: Harness, tenant: int) -> None:
    ours, before_us = (
        tag["id"] for tag in harness.control("companies", {"id": "cmp_acme", "name": "Acme"})["tags"][:2]
    )
    harness.sql("UPDATE tenants SET action = 'trash'")
    [trashed] = receive(harness)
    harness.work()
    harness.sql("UPDATE tenants SET action = %s", f"tag:{ours}")
    [tagged, by_hand] = receive(harness, 2)
    harness.work()
    world = harness.sandbox.front.world
    [tag] = [tag for tag in world.companies["cmp_acme"].tags if tag.id == before_us]
    person = Cause(source=Source(type="teammate"), at=harness.sandbox.front.now())
    for tags in ((), (world.conversations["cmp_acme", tagged].tags[0], tag)):
        set_tags(world, ("cmp_acme", by_hand), tags, person)
    assert request_undo(harness, tenant) == 3
    finish(harness)
    assert harness.status(trashed) == "open"
    assert harness.control(f"conversations/{tagged}")["tags"] == []
    assert harness.control(f"conversations/{by_hand}")["tags"] == [ours, before_us]
    assert undo_outcome(harness, tenant) == NOTHING | {"undone": 2, "skipped": {"changed_by_somebody": 1}}
    assert deletes(harness) == 1


def test_waiting_actions_are_not_applied_any_more(harness: Harness, tenant: int) -> None:
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    [waiting] = receive(harness, attachment_count=1)
    harness.work()
    harness.control(f"conversations/{waiting}/recall", {})
    assert request_undo(harness, tenant) == 1
    harness.work()
    harness.clear_faults()
    harness.make_due()
    harness.work()
    assert harness.sql("SELECT state, reason FROM actions") == [
        ("superseded", "undone: somebody asked for that before it was applied")
    ]
    assert undo_outcome(harness, tenant) == NOTHING | {"stopped": 1}
    assert harness.writes() == []
    assert harness.control("verdict")["lost"] == 0


def test_actions_planned_before_that_time_are_left_to_their_policy(harness: Harness, tenant: int) -> None:
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    [waiting] = receive(harness, attachment_count=1)
    harness.work()
    assert request_undo(harness, tenant, since=datetime.now(UTC)) == 0
    harness.clear_faults()
    harness.make_due()
    harness.work()
    assert harness.status(waiting) == "archived"


@pytest.mark.parametrize("fault", ["reset_after", "reset_before"])
def test_an_action_whose_answer_was_lost_ends_first(harness: Harness, tenant: int, fault: str) -> None:
    harness.control("faults", {"kind": fault, "method": "PATCH", "count": 1})
    [conversation] = receive(harness)
    harness.work()
    assert states(harness) == {"intent": 1}
    assert request_undo(harness, tenant) == 1
    finish(harness)
    assert harness.status(conversation) == "open"
    assert states(harness) == ({"undone": 1} if fault == "reset_after" else {"superseded": 1})


@pytest.mark.parametrize("fault", ["reset_after", "reset_before"])
def test_an_undo_whose_answer_was_lost_is_done_once(harness: Harness, tenant: int, fault: str) -> None:
    [conversation] = receive(harness)
    harness.work()
    harness.control(f"conversations/{conversation}/recall", {})
    request_undo(harness, tenant)
    harness.control("faults", {"kind": fault, "method": "PATCH", "count": 1})
    harness.work()
    if fault == "reset_after":
        act(harness, conversation, "archive")  # by a person, since then
    finish(harness)
    assert harness.status(conversation) == ("archived" if fault == "reset_after" else "open")
    assert states(harness) == {"undone": 1}
    assert harness.control("verdict")["double"] == 0


@pytest.mark.usefixtures("tenant")
def test_the_echo_of_an_undo_starts_nothing_and_new_mail_follows_the_policy_of_its_day(
    harness: Harness, tenant: int
) -> None:
    [conversation] = receive(harness)
    harness.work()
    request_undo(harness, tenant)
    harness.sql("UPDATE tenants SET action = 'none'")
    harness.work()
    opened = harness.sandbox.front.world.event_ids["cmp_acme", conversation][-1]
    harness.sandbox.front.announce(harness.sandbox.front.world.events["cmp_acme", opened])
    _until_received(harness)
    harness.record()
    harness.work()
    assert harness.sql("SELECT type, source FROM events ORDER BY id DESC LIMIT 1") == [("conversation_reopened", "api")]
    assert harness.status(conversation) == "open"
    receive(harness, conversation=conversation)
    harness.work()
    assert harness.status(conversation) == "open"
    harness.sql("UPDATE tenants SET action = 'archive'")
    receive(harness, conversation=conversation)
    harness.work()
    assert harness.status(conversation) == "archived"
    assert states(harness) == {"undone": 1, "skipped": 1, "confirmed": 1}


def test_new_mail_that_is_archived_waits_for_the_undo_before_it(harness: Harness, tenant: int) -> None:
    [conversation] = receive(harness)
    harness.work()
    request_undo(harness, tenant)
    receive(harness, conversation=conversation)
    finish(harness)
    assert harness.status(conversation) == "archived"
    assert undo_outcome(harness, tenant) == NOTHING | {"skipped": {"changed_by_somebody": 1}}


def test_a_conversation_that_is_gone_is_skipped(harness: Harness, tenant: int) -> None:
    receive(harness)
    harness.work()
    request_undo(harness, tenant)
    harness.control("faults", {"kind": "404_heals", "method": "GET", "path_regex": "/conversations/", "count": 1_000})
    harness.work()
    assert undo_outcome(harness, tenant) == NOTHING | {"skipped": {"conversation_gone": 1}}
    assert harness.sql("SELECT state FROM events") == [("done",)]


def test_a_conversation_that_front_leaves_in_the_trash_is_not_called_undone(harness: Harness, tenant: int) -> None:
    harness.sql("UPDATE tenants SET action = 'trash'")
    [conversation] = receive(harness)
    harness.work()
    request_undo(harness, tenant)
    harness.control("faults", {"kind": "ignored", "method": "PATCH", "count": 1})
    finish(harness)
    assert undo_outcome(harness, tenant) == NOTHING | {"failed": {"front_rejected": 1}}
    assert states(harness) == {"confirmed": 1}
    harness.sql("UPDATE tasks SET state = 'ready' WHERE state = 'failed'")  # `task retry`
    finish(harness)
    assert harness.status(conversation) == "open"
    assert states(harness) == {"undone": 1}


def test_a_merge_that_nobody_knew_of_is_followed(harness: Harness, tenant: int) -> None:
    [conversation] = receive(harness)
    harness.work()
    request_undo(harness, tenant)
    harness.control("faults", {"kind": "merged_301", "path_regex": conversation})
    harness.work()
    assert harness.status(conversation) == "open"
    assert states(harness) == {"undone": 1}


def test_several_actions_of_one_conversation_are_one_undo(harness: Harness, tenant: int) -> None:
    [conversation] = receive(harness)
    harness.work()
    harness.sql("UPDATE tenants SET action = 'trash'")
    receive(harness, conversation=conversation)
    harness.work()
    assert harness.status(conversation) == "deleted"
    assert request_undo(harness, tenant) == 2
    finish(harness)
    assert harness.status(conversation) == "open"
    assert states(harness) == {"undone": 2}
    assert len(harness.writes()) == 3


def test_a_conversation_that_a_person_archived_first_stays_archived(harness: Harness, tenant: int) -> None:
    [conversation] = receive(harness)
    act(harness, conversation, "archive")
    harness.sql("UPDATE actions SET emitted_at = emitted_at - interval '61 seconds'")
    harness.work()
    assert states(harness) == {"confirmed": 1}
    assert request_undo(harness, tenant) == 0


def test_another_tenants_conversations_stay_as_they_are(harness: Harness, tenant: int) -> None:
    other = harness.tenant("cmp_other", "Other")
    harness.user(other, NORA)
    mine = receive(harness)
    [event] = harness.send("inbound_received", "cmp_other", recipients=TO_NORA, conversation=mine[0])
    harness.record()
    harness.work()
    request_undo(harness, tenant)
    finish(harness)
    assert harness.control(f"conversations/{mine[0]}?company=cmp_acme")["status"] == "open"
    assert harness.control(f"conversations/{event['conversation_id']}?company=cmp_other")["status"] == "archived"


def _until_received(harness: Harness) -> None:
    for _ in range(500):
        if harness.resources.intake.depth():
            return
        harness.resources.stop.wait(0.02)
    raise AssertionError("the webhook did not arrive")
