"""Deliveries that nobody records: what they cost in Redis, and how fast they are recorded, however many wait."""

from __future__ import annotations

import os
import secrets
import time
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from bench.record.cases import Case
from bench.record.filling import fill
from bench.record.stage import Stage
from bench.scale.drain import Stretch, drained
from bench.scale.envelopes import padded_deliveries
from shared.inbox import STREAM
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.harness.servers import Servers

BODY_BYTES = 2_400
TOGETHER = 500
ADDRESSES = 10_000


def full_inbox(servers: Servers, folder: Path, *, deliveries: int, drained_ones: int) -> dict[str, Any]:
    """Fill the inbox with bodies of random bytes, and drain webhooks with and without them.

    Random bytes are no webhooks and are recorded as failures, which costs something else. So real ones lie before them
    and are recorded while all the others wait; then the others are taken away, and as many are recorded by themselves.
    """
    with servers.fresh() as urls, servers.redis() as client:
        fill(urls[0], Case(addresses=ADDRESSES))
        with Stage(servers, urls, folder) as stage:
            _put(stage, padded_deliveries(drained_ones, addresses=ADDRESSES, seed=1))
            before, began = _used(client), time.monotonic()
            _put(stage, (_random() for _ in range(deliveries)))
            took, used = time.monotonic() - began, _used(client) - before
            deep = drained(stage, drained_ones)
            client.unlink(STREAM)
            _put(stage, padded_deliveries(drained_ones, addresses=ADDRESSES, seed=2))
            shallow = drained(stage, drained_ones)
            unrecorded = 2 * drained_ones - stage.events_behind(0)
    return {
        "deliveries": deliveries,
        "redis_mb": round(used / 2**20, 1),
        "redis_to_body_bytes_ratio": round(used / (deliveries * BODY_BYTES), 3),
        "filled_per_second": round(deliveries / took, 1),
        **_told("deep", deep),
        **_told("shallow", shallow),
        "deep_to_shallow_cpu_ratio": round(deep.cpu_us_per_event / shallow.cpu_us_per_event, 2),
        "load_average": round(os.getloadavg()[0], 2),
        "unrecorded": unrecorded,
    }


def _told(name: str, stretch: Stretch) -> dict[str, Any]:
    return {
        f"{name}_depth": stretch.depth,
        f"{name}_drained_per_second": round(stretch.per_second, 1),
        f"{name}_cpu_us_per_event": round(stretch.cpu_us_per_event, 1),
    }


def _put(stage: Stage, deliveries: Iterable[Delivery]) -> None:
    """All of them, some in a round trip."""
    rest = iter(deliveries)
    while some := list(islice(rest, TOGETHER)):
        refused = [why for why in stage.inbox.put(some).refusals if why]
        assert not refused, refused[0]


def _random() -> Delivery:
    return Delivery(id=secrets.token_hex(16), received_at=datetime.now(UTC), body=os.urandom(BODY_BYTES))


def _used(client: Any) -> int:
    return int(client.info("memory")["used_memory"])
