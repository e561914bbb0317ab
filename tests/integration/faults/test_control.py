"""The control reports only a message that was removed from the broker as lost."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
import redis
from kombu import pools

from bench.faults.control import QUEUE, Kind, Publisher, compare, trial
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path


THREADS = Kind(name="threads", pool="threads", slots=4)
ENOUGH = 40


@pytest.fixture(autouse=True)
def no_connections_of_other_applications() -> None:
    """Close kombu's connections. It keeps them for the whole process, and must not reuse those of other tests."""
    pools.reset()


def acknowledged(broker_url: str) -> set[int]:
    with Publisher(broker_url) as publisher:
        assert wait_until(lambda: len(publisher.acknowledged) >= ENOUGH, 30)
    return publisher.acknowledged


def number_in(message: bytes) -> int:
    arguments, *_ = json.loads(base64.b64decode(json.loads(message)["body"]))
    return int(arguments[0])


def test_a_message_taken_out_of_the_broker_is_lost(redis_db: str, tmp_path: Path) -> None:
    sent = acknowledged(redis_db)
    with redis.Redis.from_url(redis_db) as broker:
        taken = number_in(broker.rpop(QUEUE))
    with trial(tmp_path / "trial", redis_db, [THREADS]) as on:
        on.drain()
    assert compare(sent, on.effects.done).lost == {taken}


def test_a_message_that_a_dead_worker_had_taken_is_not_lost(redis_db: str, tmp_path: Path) -> None:
    sent = acknowledged(redis_db)
    with redis.Redis.from_url(redis_db) as broker:
        message = broker.rpop(QUEUE)
        tag = json.loads(message)["properties"]["delivery_tag"]
        # kombu makes these entries for a consumed message; here they are old.
        broker.hset("unacked", tag, json.dumps([json.loads(message), "", QUEUE]))
        broker.zadd("unacked_index", {tag: 1.0})
    with trial(tmp_path / "trial", redis_db, [THREADS]) as on:
        on.drain()
    assert compare(sent, on.effects.done).lost == set()
