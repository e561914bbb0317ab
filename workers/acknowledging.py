"""Frees a worker's slot also when Redis went away before it heard the acknowledgement.

kombu 5.6.2 keeps such a slot for good. A recorder has only one: it never reads from Redis again, does not notice that
its connection is gone, and its event loop spins (measured: Redis killed while a record task ran).
"""

from __future__ import annotations

from kombu.transport import redis, virtual


class SlotFreeingQoS(redis.QoS):
    """Keeps count of unacknowledged messages; an acknowledgement that fails counts too, and still raises."""

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        except Exception:
            # Redis keeps the message and gives it out again after the visibility timeout, when it finds nothing to do.
            virtual.QoS.ack(self, delivery_tag)
            raise


def free_slots() -> None:
    """Have every worker of this process free its slots."""
    redis.Channel.QoS = SlotFreeingQoS
