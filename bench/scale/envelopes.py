"""Webhooks whose text hardly gets smaller, as encrypted or encoded mail would not."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from bench.record.webhooks import deliveries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.models import Delivery


def padded_deliveries(count: int, *, addresses: int, seed: int) -> Iterator[Delivery]:
    """As Front's, each with random text in the place of its words and as long as these."""
    for delivery in deliveries(count, addresses=addresses, seed=seed):
        yield delivery._replace(body=_padded(delivery.body))


def _padded(body: bytes) -> bytes:
    envelope = json.loads(body)
    message = envelope["payload"]["target"]["data"]
    length = len(message["text"])
    message["text"] = secrets.token_urlsafe(length)[:length]
    return json.dumps(envelope).encode()
