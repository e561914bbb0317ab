"""An acknowledgement that Redis does not hear."""

from __future__ import annotations

from typing import Any

import pytest
from kombu.transport import redis, virtual
from redis import ConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisIsGone

from workers.acknowledging import SlotFreeingQoS, ThriftyChannel, free_slots


class ChannelWithoutRedis:
    """A channel whose connection is gone."""

    do_restore = False

    def conn_or_acquire(self, client: object = None) -> Any:
        raise RedisIsGone("Connection refused")


def test_a_slot_is_free_again_although_the_acknowledgement_failed() -> None:
    slots = SlotFreeingQoS(ChannelWithoutRedis(), prefetch_count=1)
    virtual.QoS.append(slots, "message", "tag")
    assert not slots.can_consume()
    with pytest.raises(RedisIsGone):
        slots.ack("tag")
    assert slots.can_consume()


def test_every_channel_of_a_worker_counts_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis.Transport, "Channel", redis.Channel)
    free_slots()
    assert redis.Transport.Channel.QoS is SlotFreeingQoS


def test_a_channel_keeps_its_client_for_as_long_as_its_connections() -> None:
    channel: Any = ThriftyChannel.__new__(ThriftyChannel)  # without connecting
    channel.Client = Redis
    channel._pool = first = ConnectionPool()
    with channel.conn_or_acquire() as client, channel.conn_or_acquire() as another:
        assert client is another
    assert client.connection_pool is first
    channel._pool = ConnectionPool()
    with channel.conn_or_acquire() as client:
        assert client.connection_pool is channel._pool
