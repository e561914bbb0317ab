"""The queue of the workers stays short, even without workers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import redis

from bench.harness.processes import wait_until
from shared import queue
from shared.db.tasks import capacity
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.running_worker import running_worker
from tests.integration.pipeline.test_dispatch import NORA, TO_NORA, tenant_with_work
from workers.dispatch import Dispatcher

MOST = 2 * capacity.ASSUMED_SLOTS
TENANTS, EACH = 100, 100
DONE = "SELECT count(*) FROM tasks WHERE tenant_id = %s AND state = 'done'"
TIMEOUT = 60.0  # seconds; a busy machine may need that long


@pytest.fixture
def broker(harness: Harness) -> Iterator[redis.Redis]:
    """The Redis with the messages of the harness."""
    with redis.Redis.from_url(harness.settings.redis_url.get_secret_value()) as client:
        yield client


@pytest.fixture
def dispatcher(harness: Harness) -> Iterator[Dispatcher]:
    """A dispatcher that really sends to Celery."""
    waiting = queue.QueueDepth(harness.settings.redis_url.get_secret_value(), queue.WORK_QUEUE)
    with queue.celery_app(harness.settings) as app:
        dispatcher = Dispatcher(harness.resources.pool, app, waiting)
        yield dispatcher
        dispatcher.close()


def backlog(harness: Harness) -> None:
    """Insert ten thousand tasks of a hundred tenants."""
    harness.sql(
        "INSERT INTO tenants (name, company_id) SELECT 'tenant ' || n, 'cmp_' || n FROM generate_series(1, %s) n",
        TENANTS,
    )
    harness.sql(
        "INSERT INTO events (company_id, front_id, tenant_id, type, received_at, state)"
        " SELECT company_id, 'evt_' || n, id, 'inbound_received', now(), 'processing'"
        " FROM tenants, generate_series(1, %s) n",
        EACH,
    )
    harness.sql(
        "INSERT INTO tasks (tenant_id, event_id, kind, state) SELECT tenant_id, id, 'apply_action', 'ready' FROM events"
    )


def end_leases(harness: Harness) -> None:
    """End the leases of all queued tasks."""
    harness.sql("UPDATE tasks SET lease_until = now() - interval '1 second' WHERE state = 'queued'")
    harness.sweep("take_back")


def test_ten_thousand_tasks_without_a_worker_are_a_few_messages(
    harness: Harness, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    backlog(harness)
    longest = 0
    for _ in range(50):
        dispatcher.send_round()
        dispatcher.top_up([1, 2, 3])
        longest = max(longest, queue_length(broker))
        end_leases(harness)
    sent = harness.sql("SELECT max(sends), count(*) FILTER (WHERE sends > 0) FROM tasks")
    print(f"{TENANTS * EACH:,} tasks, 50 leases: at most {longest} messages waited; (sends a task, tasks sent) {sent}")
    assert 0 < longest <= MOST


def test_a_redis_that_was_emptied_gets_its_messages_again(
    harness: Harness, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    backlog(harness)
    before = dispatcher.send_round()
    broker.flushdb()
    end_leases(harness)
    assert (dispatcher.send_round(), queue_length(broker)) == (before, before / queue.IDS_IN_A_MESSAGE)


def test_a_message_is_all_that_sending_leaves_in_redis(
    harness: Harness, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    tenant_with_work(harness, "cmp_acme", 1)
    broker.flushdb()
    assert (dispatcher.send_round(), queue_length(broker)) == (1, 1)
    assert not list(broker.scan_iter("_kombu*"))


def test_a_single_event_is_sent_ahead_of_backlogs(
    harness: Harness, dispatcher: Dispatcher, broker: redis.Redis
) -> None:
    backlog(harness)
    quiet = tenant_with_work(harness, "cmp_acme", 1)
    harness.sql("UPDATE tasks SET due_at = now() WHERE tenant_id = %s", quiet)
    sent = dispatcher.send_round()
    backlogs = math.ceil((sent - 1) / queue.IDS_IN_A_MESSAGE)
    assert (broker.llen(queue.WORK_QUEUE), queue_length(broker)) == (1, 1 + backlogs)


def test_slow_files_of_many_tenants_do_not_delay_the_work_of_others(harness: Harness, dispatcher: Dispatcher) -> None:
    harness.control("faults", {"kind": "slow_body", "path_regex": "/download/", "seconds": TIMEOUT})
    film = [{"filename": "film.mp4", "size": 2**20}]
    for company in ("cmp_0", "cmp_1", "cmp_2"):
        harness.user(harness.tenant(company, company), NORA)
        harness.send("inbound_received", company, recipients=TO_NORA, attachments=film * 4)
    harness.record()
    harness.sql("UPDATE tasks SET state = 'ready'")
    running = "SELECT kind, count(*)::int FROM tasks WHERE state = 'running' GROUP BY 1"
    with running_worker(harness, slots=4):
        dispatcher.send_round()
        assert wait_until(lambda: harness.sql(running) == [("store_attachment", 2)], TIMEOUT)
        quiet = tenant_with_work(harness, "cmp_quiet", 3)
        dispatcher.send_round()
        assert wait_until(lambda: harness.one(DONE, quiet) == 3, TIMEOUT)
        assert harness.sql(running) == [("store_attachment", 2)]


def queue_length(broker: redis.Redis) -> int:
    """Return the number of messages in all lists of the workers' queue."""
    return sum(broker.llen(name) for name in broker.scan_iter(f"{queue.WORK_QUEUE}*"))  # type: ignore[misc]
