"""Frees a worker's slot also when Redis went away before it heard the acknowledgement.

kombu 5.6.2 keeps such a slot for good. A recorder has only one: it never reads from Redis again, does not notice that
its connection is gone, and its event loop spins (measured: Redis killed while a record task ran).
"""

from __future__ import annotations

from typing import Any

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


class ThriftyChannel(redis.Channel):
    """Keeps its client: kombu makes one for each command, which took a tenth of a busy worker's time (measured)."""

    QoS = SlotFreeingQoS
    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """A client may be shared by threads; it goes with its pool, which is another one after an outage."""
        if asynchronous:
            return super()._create_client(asynchronous=True)
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()
        return self._kept


def free_slots() -> None:
    """Have every worker of this process free its slots."""
    redis.Transport.Channel = ThriftyChannel
