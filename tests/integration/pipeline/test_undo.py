"""What a policy did is undone when a person asks for it: once, and only where nobody else decided since."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.models import Source
from sandbox.world import Cause, set_tags
from shared.db.reading.tasks import undo_progress
from shared.db.tasks import manual_changes
from tests.integration.pipeline.rig import NORA, TO_NORA, Rig

AN_HOUR = timedelta(hours=1)
NOTHING = {"undone": 0, "stopped": 0, "open": 0, "skipped": {}, "failed": {}}


@pytest.fixture
def tenant(rig: Rig) -> int:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    return tenant


def receive(rig: Rig, count: int = 1, **order: Any) -> list[str]:
    """Mails to Nora, recorded; their conversations."""
    events = rig.send("inbound_received", "cmp_acme", **{"recipients": TO_NORA, "count": count, **order})
    rig.record()
    return [event["conversation_id"] for event in events]


def ask(rig: Rig, tenant: int, since: datetime | None = None) -> int:
    """Ask for everything of the last hour, or since then."""
    since, asked = since or datetime.now(UTC) - AN_HOUR, 0
    run = rig.resources.pool.run
    while batch := run(lambda conn: manual_changes.conversations_to_undo(conn, tenant, since, size=7)):
        asked += run(
            lambda conn, batch=batch: manual_changes.request_undo(conn, tenant, batch, since=since, who="olga")
        )
    return asked


def came_of_it(rig: Rig, tenant: int) -> dict[str, Any]:
    return asdict(rig.resources.pool.run(lambda conn: undo_progress(conn, tenant, datetime.now(UTC) - AN_HOUR)))


def finish(rig: Rig) -> None:
    """Work until nothing is open any more, however often Front's budget or a rival makes it wait."""
    for _ in range(500):
        rig.work()
        if not rig.one("SELECT count(*)::int FROM tasks WHERE state IN ('ready', 'queued', 'running')"):
            return
        rig.resources.stop.wait(0.05)
        rig.hurry()
    raise AssertionError("the work does not end")


def act(rig: Rig, conversation: str, do: str, **more: str) -> None:
    rig.control(f"conversations/{conversation}/act", {"do": do, **more})


def states(rig: Rig) -> dict[str, int]:
    return dict(rig.sql("SELECT state, count(*)::int FROM actions GROUP BY 1"))


def deletes(rig: Rig) -> int:
    return sum(call["method"] == "DELETE" for call in rig.control("ledger/calls")["calls"])


def test_exactly_what_is_as_we_left_it_is_opened_again(rig: Rig, tenant: int) -> None:
    mine = receive(rig, 20)
    rig.work()
    assert {rig.status(each) for each in mine} == {"archived"}
    act(rig, mine[0], "reopen")
    act(rig, mine[1], "reopen")
    act(rig, mine[1], "archive")
    act(rig, mine[2], "trash")
    act(rig, mine[3], "merge", into=mine[4])
    for each in mine[4:]:
        rig.control(f"conversations/{each}/recall", {})

    assert ask(rig, tenant) == 20
    assert rig.one("SELECT count(*)::int FROM tasks WHERE kind = 'undo_action'") == 20
    finish(rig)
    shown = {each: rig.status(each) for each in (*mine[:3], *mine[4:])}
    assert shown == dict.fromkeys((mine[0], *mine[4:]), "open") | {mine[1]: "archived", mine[2]: "deleted"}
    assert came_of_it(rig, tenant) == NOTHING | {"undone": 16, "skipped": {"changed_by_somebody": 3}}
    assert states(rig) == {"undone": 17, "confirmed": 3}
    assert rig.sql("SELECT DISTINCT state FROM events") == [("done",)]
    assert len(rig.writes()) == 20 + 16
    assert {name: rig.control("verdict")[name] for name in ("lost", "double", "ghost")} == {
        "lost": 0,
        "double": 0,
        "ghost": 0,
    }

    assert ask(rig, tenant) == 0
    rig.sweep("dispatch")
    rig.work()
    assert len(rig.writes()) == 20 + 16


def test_what_was_trashed_comes_back_and_what_was_tagged_loses_the_tag(rig: Rig, tenant: int) -> None:
    ours, before_us = (tag["id"] for tag in rig.control("companies", {"id": "cmp_acme", "name": "Acme"})["tags"][:2])
    rig.sql("UPDATE tenants SET action = 'trash'")
    [trashed] = receive(rig)
    rig.work()
    rig.sql("UPDATE tenants SET action = %s", f"tag:{ours}")
    [tagged, by_hand] = receive(rig, 2)
    rig.work()
    world = rig.sandbox.front.world
    [tag] = [tag for tag in world.companies["cmp_acme"].tags if tag.id == before_us]
    person = Cause(source=Source(type="teammate"), at=rig.sandbox.front.now())
    for tags in ((), (world.conversations["cmp_acme", tagged].tags[0], tag)):
        set_tags(world, ("cmp_acme", by_hand), tags, person)
    assert ask(rig, tenant) == 3
    finish(rig)
    assert rig.status(trashed) == "open"
    assert rig.control(f"conversations/{tagged}")["tags"] == []
    assert rig.control(f"conversations/{by_hand}")["tags"] == [ours, before_us]
    assert came_of_it(rig, tenant) == NOTHING | {"undone": 2, "skipped": {"changed_by_somebody": 1}}
    assert deletes(rig) == 1


def test_what_still_waits_is_not_applied_any_more(rig: Rig, tenant: int) -> None:
    rig.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    [waiting] = receive(rig, attachment_count=1)
    rig.work()
    rig.control(f"conversations/{waiting}/recall", {})
    assert ask(rig, tenant) == 1
    rig.work()
    rig.heal()
    rig.hurry()
    rig.work()
    assert rig.sql("SELECT state, reason FROM actions") == [
        ("superseded", "undone: somebody asked for that before it was applied")
    ]
    assert came_of_it(rig, tenant) == NOTHING | {"stopped": 1}
    assert rig.writes() == []
    assert rig.control("verdict")["lost"] == 0


def test_what_was_planned_before_that_time_is_left_to_its_policy(rig: Rig, tenant: int) -> None:
    rig.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    [waiting] = receive(rig, attachment_count=1)
    rig.work()
    assert ask(rig, tenant, since=datetime.now(UTC)) == 0
    rig.heal()
    rig.hurry()
    rig.work()
    assert rig.status(waiting) == "archived"


@pytest.mark.parametrize("fault", ["reset_after", "reset_before"])
def test_an_action_whose_answer_was_lost_ends_first(rig: Rig, tenant: int, fault: str) -> None:
    rig.control("faults", {"kind": fault, "method": "PATCH", "count": 1})
    [conversation] = receive(rig)
    rig.work()
    assert states(rig) == {"intent": 1}
    assert ask(rig, tenant) == 1
    finish(rig)
    assert rig.status(conversation) == "open"
    assert states(rig) == ({"undone": 1} if fault == "reset_after" else {"superseded": 1})


@pytest.mark.parametrize("fault", ["reset_after", "reset_before"])
def test_an_undo_whose_answer_was_lost_is_done_once(rig: Rig, tenant: int, fault: str) -> None:
    [conversation] = receive(rig)
    rig.work()
    rig.control(f"conversations/{conversation}/recall", {})
    ask(rig, tenant)
    rig.control("faults", {"kind": fault, "method": "PATCH", "count": 1})
    rig.work()
    if fault == "reset_after":
        act(rig, conversation, "archive")  # a person, since
    finish(rig)
    assert rig.status(conversation) == ("archived" if fault == "reset_after" else "open")
    assert states(rig) == {"undone": 1}
    assert rig.control("verdict")["double"] == 0


@pytest.mark.usefixtures("tenant")
def test_the_echo_of_an_undo_starts_nothing_and_new_mail_follows_the_policy_of_its_day(rig: Rig, tenant: int) -> None:
    [conversation] = receive(rig)
    rig.work()
    ask(rig, tenant)
    rig.sql("UPDATE tenants SET action = 'none'")
    rig.work()
    opened = rig.sandbox.front.world.event_ids["cmp_acme", conversation][-1]
    rig.sandbox.front.announce(rig.sandbox.front.world.events["cmp_acme", opened])
    _until_received(rig)
    rig.record()
    rig.work()
    assert rig.sql("SELECT type, source FROM events ORDER BY id DESC LIMIT 1") == [("conversation_reopened", "api")]
    assert rig.status(conversation) == "open"
    receive(rig, conversation=conversation)
    rig.work()
    assert rig.status(conversation) == "open"
    rig.sql("UPDATE tenants SET action = 'archive'")
    receive(rig, conversation=conversation)
    rig.work()
    assert rig.status(conversation) == "archived"
    assert states(rig) == {"undone": 1, "skipped": 1, "confirmed": 1}


def test_new_mail_that_is_archived_waits_for_the_undo_before_it(rig: Rig, tenant: int) -> None:
    [conversation] = receive(rig)
    rig.work()
    ask(rig, tenant)
    receive(rig, conversation=conversation)
    finish(rig)
    assert rig.status(conversation) == "archived"
    assert came_of_it(rig, tenant) == NOTHING | {"skipped": {"changed_by_somebody": 1}}


def test_a_conversation_that_is_gone_is_skipped(rig: Rig, tenant: int) -> None:
    receive(rig)
    rig.work()
    ask(rig, tenant)
    rig.control("faults", {"kind": "404_heals", "method": "GET", "path_regex": "/conversations/", "count": 1_000})
    rig.work()
    assert came_of_it(rig, tenant) == NOTHING | {"skipped": {"conversation_gone": 1}}
    assert rig.sql("SELECT state FROM events") == [("done",)]


def test_what_front_leaves_in_the_trash_is_not_called_undone(rig: Rig, tenant: int) -> None:
    rig.sql("UPDATE tenants SET action = 'trash'")
    [conversation] = receive(rig)
    rig.work()
    ask(rig, tenant)
    rig.control("faults", {"kind": "ignored", "method": "PATCH", "count": 1})
    finish(rig)
    assert came_of_it(rig, tenant) == NOTHING | {"failed": {"front_rejected": 1}}
    assert states(rig) == {"confirmed": 1}
    rig.sql("UPDATE tasks SET state = 'ready' WHERE state = 'failed'")  # `task retry`
    finish(rig)
    assert rig.status(conversation) == "open"
    assert states(rig) == {"undone": 1}


def test_a_merge_that_nobody_knew_of_is_followed(rig: Rig, tenant: int) -> None:
    [conversation] = receive(rig)
    rig.work()
    ask(rig, tenant)
    rig.control("faults", {"kind": "merged_301", "path_regex": conversation})
    rig.work()
    assert rig.status(conversation) == "open"
    assert states(rig) == {"undone": 1}


def test_several_actions_of_one_conversation_are_one_undo(rig: Rig, tenant: int) -> None:
    [conversation] = receive(rig)
    rig.work()
    rig.sql("UPDATE tenants SET action = 'trash'")
    receive(rig, conversation=conversation)
    rig.work()
    assert rig.status(conversation) == "deleted"
    assert ask(rig, tenant) == 2
    finish(rig)
    assert rig.status(conversation) == "open"
    assert states(rig) == {"undone": 2}
    assert len(rig.writes()) == 3


def test_what_a_person_archived_before_we_looked_is_not_ours_to_open(rig: Rig, tenant: int) -> None:
    [conversation] = receive(rig)
    act(rig, conversation, "archive")
    rig.sql("UPDATE actions SET emitted_at = emitted_at - interval '61 seconds'")
    rig.work()
    assert states(rig) == {"confirmed": 1}
    assert ask(rig, tenant) == 0


def test_another_tenants_conversations_stay_as_they_are(rig: Rig, tenant: int) -> None:
    other = rig.tenant("cmp_other", "Other")
    rig.user(other, NORA)
    mine = receive(rig)
    [event] = rig.send("inbound_received", "cmp_other", recipients=TO_NORA, conversation=mine[0])
    rig.record()
    rig.work()
    ask(rig, tenant)
    finish(rig)
    assert rig.control(f"conversations/{mine[0]}?company=cmp_acme")["status"] == "open"
    assert rig.control(f"conversations/{event['conversation_id']}?company=cmp_other")["status"] == "archived"


def _until_received(rig: Rig) -> None:
    for _ in range(500):
        if rig.resources.intake.depth():
            return
        rig.resources.stop.wait(0.02)
    raise AssertionError("the webhook did not arrive")
