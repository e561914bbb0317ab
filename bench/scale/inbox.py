"""Deliveries that nobody records: what they cost in Redis."""

from __future__ import annotations

import os
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.inbox import Inbox
from shared.models import Delivery

if TYPE_CHECKING:
    from bench.harness.servers import Servers

BODY_BYTES = 2_400
TOGETHER = 500


def full_inbox(servers: Servers, deliveries: int) -> dict[str, Any]:
    """Fill the inbox with bodies of random bytes, which nothing can make smaller."""
    with servers.fresh(), servers.redis() as client:
        inbox = Inbox(client)
        before, began = _used(client), time.monotonic()
        for _ in range(deliveries // TOGETHER):
            inbox.put([_delivery() for _ in range(TOGETHER)])
        took = time.monotonic() - began
        depth = inbox.depth()
        used = _used(client) - before
        return {
            "deliveries": depth,
            "redis_mb": round(used / 2**20, 1),
            "redis_to_body_bytes_ratio": round(used / (depth * BODY_BYTES), 3),
            "filled_per_second": round(depth / took, 1),
            "load_average": round(os.getloadavg()[0], 2),
        }


def _delivery() -> Delivery:
    return Delivery(id=secrets.token_hex(16), received_at=datetime.now(UTC), body=os.urandom(BODY_BYTES))


def _used(client: Any) -> int:
    return int(client.info("memory")["used_memory"])
