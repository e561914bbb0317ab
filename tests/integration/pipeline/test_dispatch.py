"""Dispatch goes on for everybody, whatever holds up one task, one tenant or one worker."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from shared.db.core.locks import try_lock_files
from shared.db.tasks import capacity, dispatching
from shared.errors import StoreUnavailable
from tests.integration.pipeline.rig import Rig
from workers import dispatch

NORA = "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]


def tenant_with_work(rig: Rig, company: str, events: int) -> int:
    """A tenant with this many actions due, none of them dispatched."""
    tenant = rig.tenant(company, company)
    rig.user(tenant, NORA)
    rig.send("inbound_received", company, recipients=TO_NORA, count=events)
    rig.record()
    rig.sql("UPDATE tasks SET state = 'ready', lease_until = NULL, sends = 0 WHERE tenant_id = %s", tenant)
    return tenant


def sent(rig: Rig) -> int:
    """Dispatch a round; how many tasks went out."""
    return rig.resources.dispatcher.send_round()


def test_a_redis_that_was_away_does_not_make_the_next_lost_message_cost_half_an_hour(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_with_work(rig, "cmp_acme", 1)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("connection refused")

    with monkeypatch.context() as away:
        away.setattr(rig.messages, "send_task", refuse)
        for _ in range(8):
            with pytest.raises(StoreUnavailable):
                sent(rig)
    assert sent(rig) == 1
    assert rig.one("SELECT lease_until < now() + interval '31 seconds' FROM tasks") is True


@pytest.mark.parametrize("table", ["tasks", "tenants"])
def test_a_row_that_a_stuck_worker_holds_does_not_hold_up_the_others(rig: Rig, database: str, table: str) -> None:
    held = tenant_with_work(rig, "cmp_acme", 1)
    tenant_with_work(rig, "cmp_other", 1)
    column = "tenant_id" if table == "tasks" else "id"
    with psycopg.connect(database) as stuck:
        stuck.execute(f"SELECT 1 FROM {table} WHERE {column} = {held} FOR UPDATE")
        assert sent(rig) == (1 if table == "tasks" else 2)


def test_tasks_of_dead_workers_take_no_room_from_the_living(rig: Rig) -> None:
    tenant_with_work(rig, "cmp_acme", 2 * capacity.ASSUMED_SLOTS)
    rig.sql("UPDATE tasks SET state = 'queued'")
    for (task_id,) in rig.sql("SELECT id FROM tasks"):
        assert rig.claim(task_id, "killed") is not None
    tenant_with_work(rig, "cmp_other", 1)
    assert sent(rig) == 1


def test_tasks_of_a_dead_worker_do_not_count_against_their_tenant(rig: Rig) -> None:
    tenant_with_work(rig, "cmp_acme", dispatching.PER_TENANT + 1)
    claimed = [task_id for (task_id,) in rig.sql("SELECT id FROM tasks ORDER BY id LIMIT %s", dispatching.PER_TENANT)]
    rig.resources.pool.run(lambda conn: capacity.record_heartbeat(conn, "alive", "worker", 16))
    for task_id in claimed:
        assert rig.claim(task_id, "alive") is not None
    assert sent(rig) == 0
    rig.sql("UPDATE processes SET seen_at = now() - interval '1 minute'")
    assert sent(rig) == 1


def test_a_tenants_backlog_is_not_in_front_of_anothers_event(rig: Rig) -> None:
    busy = tenant_with_work(rig, "cmp_acme", 50)
    tenant_with_work(rig, "cmp_other", 1)
    sent(rig)
    assert dict(rig.sql("SELECT tenant_id = %s, count(*)::int FROM tasks WHERE state = 'queued' GROUP BY 1", busy)) == {
        True: dispatching.PER_TENANT,
        False: 1,
    }


def add_files(rig: Rig, tenant: int, count: int) -> None:
    """Files of this tenant to be stored, due for an hour."""
    rig.sql(
        "INSERT INTO tasks (tenant_id, event_id, kind, state, due_at)"
        " SELECT %s, (SELECT min(id) FROM events WHERE tenant_id = %s), 'store_attachment', 'ready',"
        " now() - interval '1 hour' FROM generate_series(1, %s)",
        *(tenant, tenant, count),
    )


def queued(rig: Rig) -> dict[str, int]:
    """How many tasks of each kind are on the way to the workers."""
    return dict(rig.sql("SELECT kind, count(*)::int FROM tasks WHERE state = 'queued' GROUP BY 1"))


def test_files_of_many_tenants_take_no_more_than_half_of_the_slots(rig: Rig) -> None:
    for number in range(5):
        add_files(rig, tenant_with_work(rig, f"cmp_{number}", 1), 10)
    sent(rig)
    sent(rig)
    assert queued(rig) == {"store_attachment": capacity.ASSUMED_SLOTS // 2, "apply_action": 5}


def test_a_stored_file_makes_room_for_one_of_whoever_had_none(rig: Rig) -> None:
    tenants = [tenant_with_work(rig, f"cmp_{number}", 1) for number in range(3)]
    for tenant in tenants[:2]:
        add_files(rig, tenant, 10)
    sent(rig)
    add_files(rig, tenants[2], 10)
    rig.sql("UPDATE tasks SET state = 'done' WHERE id = (SELECT max(id) FROM tasks WHERE state = 'queued')")
    rig.resources.dispatcher.top_up(tenants[2:])
    assert rig.one("SELECT tenant_id FROM tasks WHERE state = 'queued' ORDER BY id DESC LIMIT 1") == tenants[2]


def test_a_tenants_own_files_are_not_in_front_of_its_actions(rig: Rig) -> None:
    tenant = tenant_with_work(rig, "cmp_acme", 1)
    add_files(rig, tenant, 1_000)
    sent(rig)
    assert queued(rig) == {"store_attachment": dispatching.FILES_PER_TENANT, "apply_action": 1}


@pytest.mark.parametrize("way", ["round", "top_up"])
def test_who_counts_files_while_another_does_leaves_them_to_the_next_round(rig: Rig, database: str, way: str) -> None:
    tenant = tenant_with_work(rig, "cmp_acme", 1)
    add_files(rig, tenant, 10)
    with psycopg.connect(database) as other:
        assert try_lock_files(other)
        if way == "round":
            sent(rig)
        else:
            rig.resources.dispatcher.top_up([tenant])
        assert queued(rig) == {"apply_action": 1}
    sent(rig)
    assert queued(rig) == {"store_attachment": dispatching.FILES_PER_TENANT, "apply_action": 1}


def test_a_single_event_does_not_wait_for_one_task_of_everybody_who_has_a_backlog(rig: Rig) -> None:
    for number in range(2 * capacity.ASSUMED_SLOTS // dispatching.PER_TENANT):
        tenant_with_work(rig, f"cmp_{number}", 3 * dispatching.PER_TENANT)
    sent(rig)
    quiet = tenant_with_work(rig, "cmp_quiet", 1)
    rig.sql("UPDATE tenants SET last_served_at = now() - interval '1 second' WHERE id = %s", quiet)
    rig.sql("UPDATE tenants SET last_served_at = now() - interval '1 minute' WHERE id <> %s", quiet)
    rig.sql("UPDATE tasks SET due_at = now() - interval '1 hour' WHERE tenant_id <> %s", quiet)
    rig.sql("UPDATE tasks SET state = 'done' WHERE id = (SELECT min(id) FROM tasks WHERE state = 'queued')")
    assert sent(rig) == 1
    assert rig.one("SELECT state FROM tasks WHERE tenant_id = %s", quiet) == "queued"


def test_a_backlog_that_was_never_served_is_a_backlog_too(rig: Rig) -> None:
    for number in range(30):
        tenant_with_work(rig, f"cmp_{number}", 1)
    rig.sql(
        "INSERT INTO tasks (tenant_id, event_id, kind, state) SELECT tenant_id, event_id, kind, 'ready'"
        " FROM tasks, generate_series(1, %s)",
        dispatching.PER_TENANT,
    )
    rig.sql("UPDATE tenants SET last_served_at = '-infinity'")
    quiet = tenant_with_work(rig, "cmp_quiet", 1)
    rig.sql("UPDATE tenants SET last_served_at = now() - interval '1 second' WHERE id = %s", quiet)
    sent(rig)
    assert rig.one("SELECT state FROM tasks WHERE tenant_id = %s", quiet) == "queued"


def test_who_found_no_room_leaves_what_comes_next_to_the_rounds(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "FULL_SECONDS", 60.0)
    busy = [tenant_with_work(rig, f"cmp_{number}", dispatching.PER_TENANT) for number in range(2)]
    single = tenant_with_work(rig, "cmp_single", 1)
    rig.resources.dispatcher.top_up(busy)
    rig.resources.dispatcher.top_up([single])
    rig.sql("UPDATE tasks SET state = 'done' WHERE state = 'queued'")
    rig.resources.dispatcher.top_up([single])
    assert queued(rig) == {}
    assert sent(rig) == 1


def test_a_moment_later_there_may_be_room_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "FULL_SECONDS", 0.0)
    busy = [tenant_with_work(rig, f"cmp_{number}", dispatching.PER_TENANT) for number in range(2)]
    single = tenant_with_work(rig, "cmp_single", 1)
    rig.resources.dispatcher.top_up(busy)
    rig.resources.dispatcher.top_up([single])
    rig.sql("UPDATE tasks SET state = 'done' WHERE state = 'queued'")
    rig.resources.dispatcher.top_up([single])
    assert queued(rig) == {"apply_action": 1}


@pytest.mark.parametrize("events", [1, 2])
def test_whoever_ends_a_task_tops_up_where_more_is_due(rig: Rig, events: int) -> None:
    tenant_with_work(rig, "cmp_acme", events)
    first = rig.one("SELECT min(id) FROM tasks")
    rig.messages.sent.clear()
    rig.run(first)
    assert len(rig.messages.sent) == events - 1
