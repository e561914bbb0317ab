"""Celery's settings, its queues and its Redis channel."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from kombu.transport import virtual
from kombu.transport.virtual import base
from redis import ConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisIsGone
from redis.exceptions import ResponseError

from shared.queue import (
    ERASE_ADDRESS,
    EXPIRE,
    KEEP_ALIVE,
    NOTIFY,
    QUEUES,
    RECORD_INTAKE,
    REPAIR,
    RUN_JOB,
    RUN_TASK,
    BatchingChannel,
    celery_app,
)
from shared.settings import Settings


def test_recording_has_a_queue_of_its_own() -> None:
    others = (RUN_TASK, KEEP_ALIVE, EXPIRE, REPAIR, RUN_JOB, ERASE_ADDRESS, NOTIFY)
    assert {RECORD_INTAKE: "record", **dict.fromkeys(others, "work")} == QUEUES


def test_routes_name_queues_only() -> None:
    routes = celery_app(Settings()).conf.task_routes
    assert {name: list(route) for name, route in routes.items()} == {name: ["queue"] for name in QUEUES}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("result_backend", None),
        ("task_acks_late", True),
        ("task_reject_on_worker_lost", False),
        ("task_publish_retry", False),
        ("worker_prefetch_multiplier", 1),
        ("worker_enable_remote_control", False),
        ("accept_content", ["json"]),
        ("task_send_sent_event", False),
    ],
)
def test_celery_never_decides_whether_a_task_is_done(setting: str, value: object) -> None:
    assert getattr(celery_app(Settings()).conf, setting) == value


def test_redis_does_not_track_unacknowledged_messages() -> None:
    with celery_app(Settings()).connection_for_read() as connection:
        assert connection.transport_options["ack_emulation"] is False


def test_a_channel_that_lost_redis_leaves_no_file_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "emergency_dump_state", pytest.fail)
    taken = virtual.QoS(ChannelWithoutRedis())
    taken.append("message", "tag")
    taken.restore_unacked_once()


class ChannelWithoutRedis(BatchingChannel):
    """A channel that has lost its connection."""

    def __init__(self) -> None:
        pass

    def _restore(self, message: object, leftmost: bool = False) -> None:
        raise RedisIsGone("connection refused")

    def __del__(self) -> None:
        pass


def test_a_channel_keeps_its_client_for_as_long_as_its_connections() -> None:
    channel: Any = BatchingChannel.__new__(BatchingChannel)  # without connecting
    channel.Client = Redis
    channel._pool = first = ConnectionPool()
    with channel.conn_or_acquire() as client, channel.conn_or_acquire() as another:
        assert client is another
    assert client.connection_pool is first
    channel._pool = ConnectionPool()
    with channel.conn_or_acquire() as client:
        assert client.connection_pool is channel._pool


def test_junk_is_dropped_also_while_a_full_redis_counts_nothing() -> None:
    class FullRedis(ChannelWithoutRedis):
        def conn_or_acquire(self) -> Any:
            return nullcontext(self)

        def incr(self, _key: str) -> None:
            raise ResponseError("OOM command not allowed when used memory > 'maxmemory'.")

    assert FullRedis()._usable((b"work", b"junk")) is None


@pytest.mark.parametrize(
    ("redis_url", "broker_url"),
    [
        ("redis://:secret@cache:6379/1", "redis://cache:6379/1"),
        ("rediss://:secret@cache:6380/0?ssl_cert_reqs=none", "redis://cache:6380/0"),
        ("redis://:secret@[::1]", "redis://[::1]:6379/0"),
        ("unix:///run/redis.sock?db=2", "redis+socket:///run/redis.sock?virtual_host=2"),
    ],
)
def test_kombu_logs_the_place_without_the_password(redis_url: str, broker_url: str) -> None:
    assert celery_app(Settings(redis_url=redis_url)).conf.broker_url == broker_url


def test_the_door_has_a_shorter_send_timeout_than_a_worker() -> None:
    door, worker = (celery_app(Settings(), door=door) for door in (True, False))
    timeouts = [app.connection_for_write().transport_options["socket_timeout"] for app in (door, worker)]
    assert timeouts == [0.3, 1.0]


def test_a_read_has_a_longer_timeout_than_a_send() -> None:
    assert celery_app(Settings()).connection_for_read().transport_options["socket_timeout"] == 5.0
