"""At Front's rate limit no call is made in vain, live work goes first, and a backlog keeps its order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.pipeline.harness import NORA, TO_NORA, Harness

ACME = "cmp_acme"
READY = "SELECT id FROM tasks WHERE state = 'ready' AND due_at < 'infinity' ORDER BY due_at, id"


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    """A Mailroom with a tenant."""
    harness = Harness(database, redis_db, tmp_path / "files")
    harness.user(harness.tenant(ACME), NORA)
    yield harness
    harness.close()


def limit_to(harness: Harness, calls: int) -> None:
    """Allow the company so many calls a minute, by our own count only."""
    harness.resources.front._budget.learn(ACME, limit=calls, remaining=None, reset_at=None)
    harness.sandbox.front.rate_limits._per_minute = calls


def old_mail(harness: Harness, count: int = 1, **order: Any) -> list[str]:
    """Record mail that is ten minutes old; return its conversations, oldest first."""
    return mail(harness, count=count, emitted_at=time.time() - 600, **order)


def mail(harness: Harness, **order: Any) -> list[str]:
    """Record mail and leave all of it to the dispatcher; return its conversations."""
    events = harness.send("inbound_received", ACME, recipients=TO_NORA, **order)
    harness.record()
    harness.sql("UPDATE tasks SET state = 'ready', lease_until = NULL, sends = 0 WHERE state = 'queued'")
    harness.messages.sent.clear()
    return [event["conversation_id"] for event in events]


def run_all(harness: Harness) -> None:
    """Run all due tasks at the same time, in 8 threads."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(harness.run, [task_id for (task_id,) in harness.sql(READY)]))


def archived(harness: Harness, conversations: list[str]) -> list[str]:
    """Return those of the conversations that are archived."""
    return [each for each in conversations if harness.status(each) == "archived"]


def calls(harness: Harness) -> list[dict[str, Any]]:
    """Return the calls that Front received."""
    return list(harness.control("ledger/calls")["calls"])


def dispatched(harness: Harness) -> list[int]:
    """Run a round, and return the tasks it sent, in order."""
    harness.messages.sent.clear()
    harness.resources.dispatcher.send_round()
    return [task_id for _, (task_id,) in harness.messages.sent]


def task_of(harness: Harness, conversation: str, kind: str = "apply_action") -> int:
    """Return the task of a conversation."""
    return int(
        harness.one(
            "SELECT t.id FROM tasks t JOIN events e ON e.id = t.event_id WHERE e.conversation_id = %s AND t.kind = %s",
            *(conversation, kind),
        )
    )


def test_concurrent_attempts_make_no_call_in_vain(harness: Harness) -> None:
    limit_to(harness, 10)
    conversations = old_mail(harness, 8)
    harness.sql("UPDATE tasks SET is_live = true")  # a backlog would go at an even pace
    run_all(harness)
    assert len(calls(harness)) == 9
    assert len(archived(harness, conversations)) == 3


def test_a_refused_attempt_leaves_its_task_as_it_was(harness: Harness) -> None:
    limit_to(harness, 3)
    old_mail(harness, 3)
    before = harness.sql("SELECT id, due_at FROM tasks ORDER BY id")
    run_all(harness)
    done = harness.one("SELECT count(*) FROM tasks WHERE state = 'done'")
    assert done < 3
    assert harness.sql("SELECT id, due_at FROM tasks ORDER BY id") == before
    assert harness.one("SELECT count(*) FROM attempts") == done
    assert harness.sql("SELECT DISTINCT attempts, code FROM tasks WHERE state = 'ready'") == [(0, None)]


def test_a_backlog_rests_until_calls_are_free_again(harness: Harness) -> None:
    limit_to(harness, 10)
    first, second = old_mail(harness, 2)
    harness.run(task_of(harness, first))
    assert harness.one("SELECT backlog_not_before > now() AND not_before <= now() FROM tenants") is True
    assert harness.one("SELECT at_limit_at > now() - interval '1 minute' FROM tenants") is True
    assert dispatched(harness) == []
    harness.run(task_of(harness, second))  # its message was on the way
    assert harness.status(second) == "open"
    assert harness.one("SELECT count(*) FROM attempts") == 1
    harness.sql("UPDATE tenants SET backlog_not_before = now()")
    assert dispatched(harness) == [task_of(harness, second)]


def test_a_rested_backlog_begins_with_one_task_and_grows(harness: Harness) -> None:
    old_mail(harness, 20)
    sent = []
    for seconds in (0.0, 0.6, 10.0):
        harness.sql("UPDATE tenants SET backlog_not_before = now() - make_interval(secs => %s)", seconds)
        sent.append(len(dispatched(harness)))
    assert sent == [1, 2, 5]


def test_live_mail_passes_a_backlog(harness: Harness) -> None:
    limit_to(harness, 120)
    old_mail(harness, 50)
    for _ in range(12):
        harness.resources.dispatcher.send_round()
        run_all(harness)
    assert harness.one("SELECT backlog_not_before > now() FROM tenants") is True
    [live] = mail(harness)
    [first] = dispatched(harness)
    assert first == task_of(harness, live)
    harness.run(first)
    assert harness.status(live) == "archived"


def test_live_mail_goes_before_a_backlog_that_may_go(harness: Harness) -> None:
    old_mail(harness, 20)
    live = mail(harness, count=2)
    assert dispatched(harness)[:2] == [task_of(harness, each) for each in live]


def test_steady_live_mail_leaves_a_backlog_its_turn(harness: Harness) -> None:
    [old] = old_mail(harness)
    mail(harness, count=20)
    assert task_of(harness, old) in dispatched(harness)


def test_mail_is_live_for_a_minute(harness: Harness) -> None:
    [live] = mail(harness)
    harness.sql("UPDATE tenants SET backlog_not_before = now() + interval '1 hour'")
    harness.sql("UPDATE tasks SET due_at = now() - interval '61 seconds'")
    assert dispatched(harness) == []
    harness.sql("UPDATE tasks SET due_at = now() - interval '50 seconds'")
    assert dispatched(harness) == [task_of(harness, live)]


def test_without_a_call_for_live_mail_all_work_of_the_tenant_waits(harness: Harness) -> None:
    limit_to(harness, 1)
    mail(harness, count=2)
    run_all(harness)
    assert harness.one("SELECT count(*) FROM tasks WHERE state = 'done'") == 1
    assert harness.one("SELECT not_before > now() FROM tenants") is True
    assert harness.sql("SELECT state FROM actions ORDER BY 1") == [("confirmed",), ("planned",)]


def test_at_the_limit_a_file_waits_for_changes_that_are_due(harness: Harness) -> None:
    old_mail(harness, attachment_count=1)
    [plain] = old_mail(harness)
    file = harness.one("SELECT id FROM tasks WHERE kind = 'store_attachment'")
    harness.sql("UPDATE tenants SET at_limit_at = now(), backlog_not_before = now()")
    assert dispatched(harness) == [task_of(harness, plain)]
    harness.run(task_of(harness, plain))
    harness.sql("UPDATE tasks SET state = 'ready', lease_until = NULL WHERE state = 'queued'")
    assert dispatched(harness) == [file]


@pytest.mark.parametrize(("is_live", "age_seconds", "place"), [(False, 0, 0), (True, 0, 2), (True, 61, 0)])
def test_a_change_that_waited_for_its_file_keeps_its_place_in_a_backlog(
    harness: Harness, is_live: bool, age_seconds: int, place: int
) -> None:
    [first] = old_mail(harness, attachment_count=1)
    old_mail(harness, 2)
    aged = "created_at = created_at - make_interval(secs => %s), due_at = due_at - make_interval(secs => %s)"
    harness.sql(f"UPDATE tasks SET is_live = %s, {aged}", is_live, age_seconds, age_seconds)
    harness.run(harness.one("SELECT id FROM tasks WHERE kind = 'store_attachment'"))
    harness.sql("UPDATE tasks SET state = 'ready', lease_until = NULL WHERE state = 'queued'")  # it was topped up
    due = [task_id for (task_id,) in harness.sql(READY)]
    assert due.index(task_of(harness, first)) == place


def test_fronts_429_keeps_the_tasks_place(harness: Harness) -> None:
    old_mail(harness, 2)
    harness.control("faults", {"kind": "429", "count": 1, "seconds": 30})
    before = harness.sql(READY)
    harness.run(before[0][0])
    assert harness.sql(READY) == before
    assert harness.one("SELECT not_before > now() + interval '20 seconds' FROM tenants") is True


def test_calls_are_counted_as_used_and_wasted(harness: Harness, redis_db: str) -> None:
    old_mail(harness, 2)
    harness.control("faults", {"kind": "429", "count": 1, "seconds": 1, "path_regex": "/events"})
    run_one, other = (task_id for (task_id,) in harness.sql(READY))
    harness.run(run_one)
    time.sleep(1.1)
    harness.make_due()
    harness.run(other)
    with redis.Redis.from_url(redis_db, decode_responses=True) as client:
        counts = [client.hgetall(key) for key in client.scan_iter(match="mailroom:front:counts:*")]
    assert sum(int(count.get("used", 0)) for count in counts) == len(calls(harness)) == 5
    assert sum(int(count.get("wasted", 0)) for count in counts) == 2
