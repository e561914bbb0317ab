"""Tasks of new events go to the workers with the commit that records them, as far as that is fair."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from bench.harness.processes import expect
from shared import queue
from shared.db.tasks import dispatching
from shared.models import Delivery
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness
from tests.integration.pipeline.running_worker import running_worker

STATES = "SELECT state, count(*)::int FROM tasks GROUP BY state ORDER BY state"


def record(harness: Harness, company: str = "cmp_acme", **order: Any) -> None:
    harness.send("inbound_received", company, recipients=TO_NORA, **order)
    harness.record()


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    return tenant


def sent(harness: Harness) -> set[int]:
    return {arguments[0] for _, arguments in harness.messages.sent}


def test_new_tasks_are_queued_and_sent(harness: Harness, tenant: int) -> None:
    record(harness, count=3)
    [*tasks] = harness.sql("SELECT id FROM tasks WHERE tenant_id = %s AND state = 'queued' AND sends = 1", tenant)
    assert sent(harness) == {task_id for (task_id,) in tasks}
    assert len(tasks) == 3


def test_a_tenant_gets_no_more_than_its_share(harness: Harness, tenant: int) -> None:
    record(harness, count=dispatching.PER_TENANT + 2)
    assert harness.sql(STATES) == [("queued", dispatching.PER_TENANT), ("ready", 2)]
    assert len(sent(harness)) == dispatching.PER_TENANT


def test_all_tenants_together_get_no_more_than_the_workers_have_slots(harness: Harness) -> None:
    for number in range(3):
        harness.user(harness.tenant(f"cmp_{number}", f"tenant {number}"), NORA)
        record(harness, f"cmp_{number}", count=6)
    assert dict(harness.sql(STATES))["queued"] == 16


@pytest.mark.parametrize(
    "held_back",
    [
        "UPDATE tenants SET parked_cause = 'paused'",
        "UPDATE tenants SET not_before = now() + interval '1 hour'",
        "UPDATE tenants SET backlog_not_before = now() + interval '1 hour'",
        "INSERT INTO outages (what, since, code, detail, probe_at) VALUES ('front', now(), 'x', 'x', 'infinity')",
    ],
)
def test_nothing_is_queued_while_work_is_held_back(harness: Harness, tenant: int, held_back: str) -> None:
    harness.sql(held_back)
    record(harness)
    assert harness.sql("SELECT state FROM tasks WHERE tenant_id = %s", tenant) == [("ready",)]


def test_new_work_does_not_overtake_a_backlog(harness: Harness, tenant: int) -> None:
    record(harness)
    harness.sql("UPDATE tasks SET state = 'ready', lease_until = NULL")
    harness.messages.sent.clear()
    record(harness)
    [(older,), (newer,)] = harness.sql("SELECT id FROM tasks WHERE tenant_id = %s ORDER BY id", tenant)
    assert [arguments for _, arguments in harness.messages.sent] == [(older,), (newer,)]


def test_tasks_that_cannot_be_sent_are_ready_again(
    harness: Harness, tenant: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(harness.messages, "send_task", refuse)
    record(harness)
    assert harness.sql("SELECT state, sends FROM tasks WHERE tenant_id = %s", tenant) == [("ready", 0)]


def test_a_recorder_listens_for_what_follows_and_is_not_woken_for_it(harness: Harness, tenant: int) -> None:
    stop, counts = threading.Event(), list[int]()
    record(harness)

    def listen() -> None:
        while not stop.is_set():
            counts.append(harness.resources.recorder.drain(listen_until=stop))

    thread = threading.Thread(target=listen)
    thread.start()
    for number in range(2, 4):
        harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
        expect(lambda: harness.one("SELECT count(*)::int FROM events") == number, 30.0, "it is recorded")  # noqa: B023
    expect(lambda: harness.resources.intake.depth() == 0, 30.0, "the entries are deleted")
    put = harness.resources.intake.put([Delivery(id="0" * 32, received_at=harness.one("SELECT now()"), body=b"{}")])
    stop.set()
    thread.join()
    assert put.bell_was_silent is False
    assert sum(counts) >= 2
    assert harness.one("SELECT count(DISTINCT tenant_id)::int FROM events WHERE tenant_id = %s", tenant) == 1


def test_the_threads_of_a_worker_share_a_message(database: str, redis_db: str, tmp_path: Path) -> None:
    harness = Harness(database, redis_db, tmp_path, latency_ms=2_000)
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    record(harness, count=4)
    app = queue.celery_app(harness.settings)
    queue.send_tasks(app, [(task_id, False) for task_id in sent(harness)])
    running = "SELECT count(*)::int FROM tasks WHERE state = 'running'"
    with running_worker(harness, slots=4):
        expect(lambda: harness.one(running) == 4, 60.0, "all tasks of the message run at the same time")
        expect(lambda: harness.sql(STATES) == [("done", 4)], 60.0, "all are done")
    app.close()
    harness.close()
