"""Messages that were never sent or are lost: rows bring the work back."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import redis

from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.site import CLEAN

if TYPE_CHECKING:
    from tests.integration.crashes.site import Site

STATE = "SELECT state FROM tasks"
EXPIRE = "UPDATE tasks SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL"


def recorded(site: Site) -> int:
    """An event with one task that is ready, and nobody told."""
    rig = site.rig
    rig.send("inbound_received", "cmp_acme", recipients=[{"handle": NORA, "role": "to"}], expect="archived")
    rig.record()
    rig.messages.sent.clear()
    rig.sql("UPDATE tasks SET state = 'ready', lease_until = NULL, sends = 0")
    return int(rig.one("SELECT id FROM tasks"))


def once(site: Site) -> None:
    """All was done, and only once."""
    assert site.verdict() == CLEAN
    assert len(site.rig.writes()) == 1


def test_a_task_whose_message_was_never_sent_is_sent_again(site: Site, redis_db: str) -> None:
    recorded(site)
    site.sweeper(crash_at="queued_before_send").died_of(signal.SIGKILL)
    with redis.Redis.from_url(redis_db) as client:
        assert (site.rig.one(STATE), client.llen(queue.WORK_QUEUE)) == ("queued", 0)
    site.rig.sql(EXPIRE)  # or wait half a minute
    site.rig.sweep("take_back")
    site.rig.work()
    once(site)
    assert site.rig.one("SELECT value::int FROM counters WHERE name = 'rescued'") == 1


def test_work_whose_messages_were_wiped_from_redis_is_done(site: Site, redis_db: str) -> None:
    recorded(site)
    site.rig.resources.dispatcher.send_round()
    site.rig.messages.sent.clear()
    with redis.Redis.from_url(redis_db) as client:
        client.flushdb()
    site.rig.sql(EXPIRE)
    site.rig.sweep("take_back")
    site.rig.work()
    once(site)
