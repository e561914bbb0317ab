"""Messages are lost or never sent: the sweeper restores the work from the rows."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import redis

from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.deployment import CLEAN

if TYPE_CHECKING:
    from tests.integration.crashes.deployment import Deployment

STATE = "SELECT state FROM tasks"
EXPIRE = "UPDATE tasks SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL"


def recorded(deployment: Deployment) -> int:
    """Record an event with one ready task, without a message."""
    harness = deployment.harness
    harness.send("inbound_received", "cmp_acme", recipients=[{"handle": NORA, "role": "to"}], expect="archived")
    harness.record()
    harness.messages.sent.clear()
    harness.sql("UPDATE tasks SET state = 'ready', lease_until = NULL, sends = 0")
    return int(harness.one("SELECT id FROM tasks"))


def is_done_once(deployment: Deployment) -> None:
    """Whether all work was done exactly once."""
    assert deployment.verdict() == CLEAN
    assert len(deployment.harness.writes()) == 1


def test_a_task_whose_message_was_never_sent_is_sent_again(deployment: Deployment, redis_db: str) -> None:
    recorded(deployment)
    deployment.sweeper(crash_at="queued_before_send").wait_for_death_by(signal.SIGKILL)
    with redis.Redis.from_url(redis_db) as client:
        assert (deployment.harness.one(STATE), client.llen(queue.WORK_QUEUE)) == ("queued", 0)
    deployment.harness.sql(EXPIRE)  # instead of a wait of half a minute
    deployment.harness.sweep("take_back")
    deployment.harness.work()
    is_done_once(deployment)
    assert deployment.harness.one("SELECT value::int FROM counters WHERE name = 'rescued'") == 1


def test_work_whose_messages_were_wiped_from_redis_is_done(deployment: Deployment, redis_db: str) -> None:
    recorded(deployment)
    deployment.harness.resources.dispatcher.send_round()
    deployment.harness.messages.sent.clear()
    with redis.Redis.from_url(redis_db) as client:
        client.flushdb()
    deployment.harness.sql(EXPIRE)
    deployment.harness.sweep("take_back")
    deployment.harness.work()
    is_done_once(deployment)
