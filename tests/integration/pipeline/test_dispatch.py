"""A stuck task, tenant or worker does not stop the dispatch of others."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from shared.db.core.locks import try_lock_files
from shared.db.tasks import capacity, dispatching
from shared.errors import StoreUnavailable
from tests.integration.pipeline.harness import Harness
from workers import dispatch

NORA = "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]


def tenant_with_work(harness: Harness, company: str, events: int) -> int:
    """Add a tenant with this many due actions, none of them dispatched."""
    tenant = harness.tenant(company, company)
    harness.user(tenant, NORA)
    harness.send("inbound_received", company, recipients=TO_NORA, count=events)
    harness.record()
    harness.sql("UPDATE tasks SET state = 'ready', lease_until = NULL, sends = 0 WHERE tenant_id = %s", tenant)
    return tenant


def send_round(harness: Harness) -> int:
    """Run a dispatch round and return how many tasks it sent."""
    return harness.resources.dispatcher.send_round()


def test_a_redis_that_was_away_does_not_make_the_next_lost_message_cost_half_an_hour(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_with_work(harness, "cmp_acme", 1)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("connection refused")

    with monkeypatch.context() as away:
        away.setattr(harness.messages, "send_task", refuse)
        for _ in range(8):
            with pytest.raises(StoreUnavailable):
                send_round(harness)
    assert send_round(harness) == 1
    assert harness.one("SELECT lease_until < now() + interval '31 seconds' FROM tasks") is True


@pytest.mark.parametrize("table", ["tasks", "tenants"])
def test_a_row_that_a_stuck_worker_holds_does_not_hold_up_the_others(
    harness: Harness, database: str, table: str
) -> None:
    held = tenant_with_work(harness, "cmp_acme", 1)
    tenant_with_work(harness, "cmp_other", 1)
    column = "tenant_id" if table == "tasks" else "id"
    with psycopg.connect(database) as stuck:
        stuck.execute(f"SELECT 1 FROM {table} WHERE {column} = {held} FOR UPDATE")
        assert send_round(harness) == (1 if table == "tasks" else 2)


def test_tasks_of_dead_workers_take_no_room_from_the_living(harness: Harness) -> None:
    tenant_with_work(harness, "cmp_acme", 2 * capacity.ASSUMED_SLOTS)
    harness.sql("UPDATE tasks SET state = 'queued'")
    for (task_id,) in harness.sql("SELECT id FROM tasks"):
        assert harness.claim(task_id, "killed") is not None
    tenant_with_work(harness, "cmp_other", 1)
    assert send_round(harness) == 1


def test_tasks_of_a_dead_worker_do_not_count_against_their_tenant(harness: Harness) -> None:
    tenant_with_work(harness, "cmp_acme", dispatching.PER_TENANT + 1)
    claimed = [
        task_id for (task_id,) in harness.sql("SELECT id FROM tasks ORDER BY id LIMIT %s", dispatching.PER_TENANT)
    ]
    harness.resources.pool.run(lambda conn: capacity.record_heartbeat(conn, "alive", "worker", 16))
    for task_id in claimed:
        assert harness.claim(task_id, "alive") is not None
    assert send_round(harness) == 0
    harness.sql("UPDATE processes SET seen_at = now() - interval '1 minute'")
    assert send_round(harness) == 1


def test_a_tenants_backlog_is_not_in_front_of_anothers_event(harness: Harness) -> None:
    busy = tenant_with_work(harness, "cmp_acme", 50)
    tenant_with_work(harness, "cmp_other", 1)
    send_round(harness)
    assert dict(
        harness.sql("SELECT tenant_id = %s, count(*)::int FROM tasks WHERE state = 'queued' GROUP BY 1", busy)
    ) == {
        True: dispatching.PER_TENANT,
        False: 1,
    }


def add_files(harness: Harness, tenant: int, count: int) -> None:
    """Add files of this tenant that have been due for an hour."""
    harness.sql(
        "INSERT INTO tasks (tenant_id, event_id, kind, state, due_at)"
        " SELECT %s, (SELECT min(id) FROM events WHERE tenant_id = %s), 'store_attachment', 'ready',"
        " now() - interval '1 hour' FROM generate_series(1, %s)",
        *(tenant, tenant, count),
    )


def queued_tasks(harness: Harness) -> dict[str, int]:
    """Return the number of queued tasks of each kind."""
    return dict(harness.sql("SELECT kind, count(*)::int FROM tasks WHERE state = 'queued' GROUP BY 1"))


def test_files_of_many_tenants_take_no_more_than_half_of_the_slots(harness: Harness) -> None:
    for number in range(5):
        add_files(harness, tenant_with_work(harness, f"cmp_{number}", 1), 10)
    send_round(harness)
    send_round(harness)
    assert queued_tasks(harness) == {"store_attachment": capacity.ASSUMED_SLOTS // 2, "apply_action": 5}


def test_a_stored_file_makes_room_for_a_tenant_that_had_none(harness: Harness) -> None:
    tenants = [tenant_with_work(harness, f"cmp_{number}", 1) for number in range(3)]
    for tenant in tenants[:2]:
        add_files(harness, tenant, 10)
    send_round(harness)
    add_files(harness, tenants[2], 10)
    harness.sql("UPDATE tasks SET state = 'done' WHERE id = (SELECT max(id) FROM tasks WHERE state = 'queued')")
    harness.resources.dispatcher.top_up(tenants[2:])
    assert harness.one("SELECT tenant_id FROM tasks WHERE state = 'queued' ORDER BY id DESC LIMIT 1") == tenants[2]


def test_a_tenants_own_files_are_not_in_front_of_its_actions(harness: Harness) -> None:
    tenant = tenant_with_work(harness, "cmp_acme", 1)
    add_files(harness, tenant, 1_000)
    send_round(harness)
    assert queued_tasks(harness) == {"store_attachment": dispatching.FILES_PER_TENANT, "apply_action": 1}


@pytest.mark.parametrize("way", ["round", "top_up"])
def test_concurrent_file_counts_leave_files_to_the_next_round(harness: Harness, database: str, way: str) -> None:
    tenant = tenant_with_work(harness, "cmp_acme", 1)
    add_files(harness, tenant, 10)
    with psycopg.connect(database) as other:
        assert try_lock_files(other)
        if way == "round":
            send_round(harness)
        else:
            harness.resources.dispatcher.top_up([tenant])
        assert queued_tasks(harness) == {"apply_action": 1}
    send_round(harness)
    assert queued_tasks(harness) == {"store_attachment": dispatching.FILES_PER_TENANT, "apply_action": 1}


def test_a_single_event_does_not_wait_for_one_task_of_everybody_who_has_a_backlog(harness: Harness) -> None:
    for number in range(2 * capacity.ASSUMED_SLOTS // dispatching.PER_TENANT):
        tenant_with_work(harness, f"cmp_{number}", 3 * dispatching.PER_TENANT)
    send_round(harness)
    quiet = tenant_with_work(harness, "cmp_quiet", 1)
    harness.sql("UPDATE tenants SET last_served_at = now() - interval '1 second' WHERE id = %s", quiet)
    harness.sql("UPDATE tenants SET last_served_at = now() - interval '1 minute' WHERE id <> %s", quiet)
    harness.sql("UPDATE tasks SET due_at = now() - interval '1 hour' WHERE tenant_id <> %s", quiet)
    harness.sql("UPDATE tasks SET state = 'done' WHERE id = (SELECT min(id) FROM tasks WHERE state = 'queued')")
    assert send_round(harness) == 1
    assert harness.one("SELECT state FROM tasks WHERE tenant_id = %s", quiet) == "queued"


def test_a_backlog_that_was_never_served_is_a_backlog_too(harness: Harness) -> None:
    for number in range(30):
        tenant_with_work(harness, f"cmp_{number}", 1)
    harness.sql(
        "INSERT INTO tasks (tenant_id, event_id, kind, state) SELECT tenant_id, event_id, kind, 'ready'"
        " FROM tasks, generate_series(1, %s)",
        dispatching.PER_TENANT,
    )
    harness.sql("UPDATE tenants SET last_served_at = '-infinity'")
    quiet = tenant_with_work(harness, "cmp_quiet", 1)
    harness.sql("UPDATE tenants SET last_served_at = now() - interval '1 second' WHERE id = %s", quiet)
    send_round(harness)
    assert harness.one("SELECT state FROM tasks WHERE tenant_id = %s", quiet) == "queued"


def test_a_full_queue_leaves_later_tasks_to_the_rounds(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "FULL_SECONDS", 60.0)
    busy = [tenant_with_work(harness, f"cmp_{number}", dispatching.PER_TENANT) for number in range(2)]
    single = tenant_with_work(harness, "cmp_single", 1)
    harness.resources.dispatcher.top_up(busy)
    harness.resources.dispatcher.top_up([single])
    harness.sql("UPDATE tasks SET state = 'done' WHERE state = 'queued'")
    harness.resources.dispatcher.top_up([single])
    assert queued_tasks(harness) == {}
    assert send_round(harness) == 1


def test_a_moment_later_there_may_be_room_again(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "FULL_SECONDS", 0.0)
    busy = [tenant_with_work(harness, f"cmp_{number}", dispatching.PER_TENANT) for number in range(2)]
    single = tenant_with_work(harness, "cmp_single", 1)
    harness.resources.dispatcher.top_up(busy)
    harness.resources.dispatcher.top_up([single])
    harness.sql("UPDATE tasks SET state = 'done' WHERE state = 'queued'")
    harness.resources.dispatcher.top_up([single])
    assert queued_tasks(harness) == {"apply_action": 1}


@pytest.mark.parametrize("events", [1, 2])
def test_an_ended_task_tops_up_the_queue_where_more_is_due(harness: Harness, events: int) -> None:
    tenant_with_work(harness, "cmp_acme", events)
    first = harness.one("SELECT min(id) FROM tasks")
    harness.messages.sent.clear()
    harness.run(first)
    assert len(harness.messages.sent) == events - 1
