"""Merged conversations count as one: an action on one waits for the files of all."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar

import psycopg
import pytest
from psycopg.errors import SerializationFailure

from shared.db.core.locks import lock_conversation
from shared.db.core.pool import Connection
from shared.db.tasks import events, leases
from shared.errors import ConversationMoved, StoreUnavailable
from shared.models import Call
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.test_lock_order import wait_for_blocked_lock

NORA = "nora@acme.example"


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    return tenant


def mail(harness: Harness, kind: str = "inbound_received", to: str = NORA, **order: Any) -> str:
    """Send and record a message; return its conversation."""
    [event] = harness.send(kind, "cmp_acme", recipients=[{"handle": to, "role": "to"}], **order)
    harness.record()
    return str(event["conversation_id"])


def merge(harness: Harness, gone: str, into: str) -> None:
    harness.control(f"conversations/{gone}/act", {"do": "merge", "into": into})


def no_files(harness: Harness) -> None:
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})


def action_of(harness: Harness, conversation: str) -> tuple[str, str]:
    [row] = harness.sql(
        "SELECT state, split_part(reason, ':', 1) FROM actions WHERE conversation_id = %s", conversation
    )
    return row


def changed_conversations(harness: Harness) -> list[str]:
    """Return the changed conversations."""
    return [call["conversation"] for call in harness.writes() if call["status"] == 204]


def test_trash_waits_for_the_files_of_the_conversation_it_turns_out_to_be_merged_into(
    harness: Harness, tenant: int
) -> None:
    harness.sql("UPDATE tenants SET action = 'trash' WHERE id = %s", tenant)
    no_files(harness)
    survivor = mail(harness, "outbound_sent", attachment_count=1)
    gone = mail(harness)
    merge(harness, gone, survivor)
    harness.work()
    assert changed_conversations(harness) == []
    assert action_of(harness, gone) == ("planned", "waits for 1 file(s) of the conversation to be stored")
    harness.clear_faults()
    harness.make_due()
    harness.work()
    assert changed_conversations(harness) == [survivor]
    assert harness.status(survivor) == "deleted"


@pytest.mark.usefixtures("tenant")
def test_an_action_on_the_survivor_waits_for_files_that_were_recorded_before_the_merge(harness: Harness) -> None:
    no_files(harness)
    gone = mail(harness, attachment_count=1)
    survivor = mail(harness)
    harness.work()
    assert changed_conversations(harness) == [survivor]
    merge(harness, gone, survivor)
    harness.resources.pool.run(lambda conn: events.record_merge(conn, 1, gone, survivor))
    newer = mail(harness, conversation=survivor)
    harness.work()
    assert newer == survivor
    assert changed_conversations(harness) == [survivor]
    harness.sweep("release_stranded")
    harness.work()
    assert changed_conversations(harness) == [survivor], "a file of the merged conversation is still missing"
    harness.clear_faults()
    harness.make_due()
    harness.work()
    assert changed_conversations(harness) == [survivor, survivor]
    assert harness.sql("SELECT DISTINCT state FROM events") == [("done",)]
    assert harness.control("verdict")["double"] == 0


@pytest.mark.usefixtures("tenant")
def test_a_newer_message_of_the_survivor_overrules_an_action_from_before_the_merge(harness: Harness) -> None:
    no_files(harness)
    gone = mail(harness, attachment_count=1)
    survivor = mail(harness, to="stranger@acme.example")
    merge(harness, gone, survivor)
    harness.resources.pool.run(lambda conn: events.record_merge(conn, 1, gone, survivor))
    harness.clear_faults()
    harness.work()
    harness.make_due()
    harness.work()
    assert action_of(harness, gone)[1] == "newer_message"
    assert changed_conversations(harness) == []


@pytest.mark.usefixtures("tenant")
def test_equal_actions_of_merged_conversations_are_done_by_the_newest(harness: Harness) -> None:
    gone, survivor = mail(harness), mail(harness)
    merge(harness, gone, survivor)
    harness.resources.pool.run(lambda conn: events.record_merge(conn, 1, gone, survivor))
    harness.work()
    assert action_of(harness, gone) == ("superseded", "coalesced")
    assert changed_conversations(harness) == [survivor]


@pytest.mark.usefixtures("tenant")
def test_a_conversation_that_was_merged_before_and_is_merged_again_is_followed(harness: Harness) -> None:
    first, second, third = (mail(harness, to=to) for to in (NORA, "stranger@acme.example", "stranger@acme.example"))
    harness.sql("UPDATE events SET emitted_at = emitted_at - interval '5 seconds' WHERE conversation_id <> %s", first)
    merge(harness, first, second)
    harness.resources.pool.run(lambda conn: events.record_merge(conn, 1, first, second))
    merge(harness, second, third)
    harness.work()
    assert action_of(harness, first)[0] == "confirmed"
    assert changed_conversations(harness) == [third]
    assert harness.sql("SELECT conversation_id, merged_into FROM merged_conversations ORDER BY noticed_at") == [
        (first, second),
        (second, third),
    ]


class EndlesslyMergingFront:
    """A Front with endless merges: every conversation was merged into another one."""

    calls: ClassVar[list[Call]] = []

    def for_tenant(self, *_: object, **__: object) -> EndlesslyMergingFront:
        return self

    def reserve(self, _: int) -> float:
        return 0.0

    def release(self, *, wasted: int) -> None: ...

    def until(self, _: float) -> AbstractContextManager[None]:
        return nullcontext()

    def set_status(self, conversation: str, _: str) -> None:
        raise ConversationMoved("merged", merged_id=conversation, surviving_id=f"{conversation}x")


@pytest.mark.usefixtures("tenant")
def test_merges_without_end_fail_with_their_code(harness: Harness) -> None:
    harness.resources = replace(harness.resources, front=EndlesslyMergingFront())  # type: ignore[arg-type]
    first = mail(harness)
    harness.work()
    assert harness.sql("SELECT state, cause FROM events") == [("failed", "unsafe_redirect")]
    assert action_of(harness, first)[0] == "failed"


def test_a_merge_back_leads_to_where_it_leads_now(harness: Harness, tenant: int) -> None:
    def survivor(conversation: str) -> str:
        return str(harness.one("SELECT surviving_conversation(%s, %s)", tenant, conversation))

    for old, new in (("cnv_a", "cnv_b"), ("cnv_b", "cnv_c"), ("cnv_c", "cnv_a")):
        harness.resources.pool.run(lambda conn, old=old, new=new: events.record_merge(conn, tenant, old, new))
    assert {survivor(each) for each in ("cnv_a", "cnv_b", "cnv_c")} == {"cnv_a"}
    assert survivor("cnv_other") == "cnv_other"


def test_merges_and_locks_of_many_at_once_never_wait_for_each_other_in_a_circle(harness: Harness, tenant: int) -> None:
    names = [f"cnv_{number}" for number in range(6)]
    turns = [(names[turn % 6], names[(turn * 5 + turn // 6 + 1) % 6]) for turn in range(90)]

    def merge_and_lock(turn: tuple[str, str]) -> None:
        if len(set(turn)) == 2:
            _retrying(harness, lambda conn: events.record_merge(conn, tenant, *turn))
        _retrying(harness, lambda conn: lock_conversation(conn, tenant, turn[1]))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(merge_and_lock, turns))
    assert harness.one("SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()") == 0


def _retrying(harness: Harness, work: Callable[[Connection], None]) -> None:
    """Repeat the work until it succeeds. With this many merges, a transaction may need more tries than a pool makes."""
    while True:
        try:
            return harness.resources.pool.run(work)
        except StoreUnavailable:
            continue


def test_a_merge_while_a_task_waits_for_its_lock_lets_it_begin_anew(
    harness: Harness, tenant: int, database: str
) -> None:
    conversation = mail(harness)
    task = harness.claim(harness.one("SELECT id FROM tasks"))
    assert task is not None
    with (
        psycopg.connect(database) as other,
        psycopg.connect(database) as waiting,
        ThreadPoolExecutor(1) as thread,
    ):
        events.record_merge(other, tenant, conversation, "cnv_survivor")
        held = thread.submit(leases.lock, waiting, task)
        wait_for_blocked_lock(harness)
        other.commit()
        with pytest.raises(SerializationFailure):
            held.result()
        waiting.rollback()
        leases.lock(waiting, task)
        assert harness.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted") == 2
