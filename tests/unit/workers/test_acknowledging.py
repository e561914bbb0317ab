"""An acknowledgement that Redis does not hear."""

from __future__ import annotations

from typing import Any

import pytest
from kombu.transport import redis, virtual
from redis.exceptions import ConnectionError as RedisIsGone

from workers.acknowledging import SlotFreeingQoS, free_slots


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
    monkeypatch.setattr(redis.Channel, "QoS", redis.QoS)
    free_slots()
    assert redis.Channel.QoS is SlotFreeingQoS
