"""What one webhook goes through before it is kept, whoever serves it: it knows no framework and no server."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import structlog

from shared.errors import ChallengeTooLong, Refused
from shared.front.signature import check_freshness, verify
from shared.models import Delivery
from shared.process import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.settings import Settings

log = structlog.get_logger(__name__)

MAX_CHALLENGE = 1000  # characters; what comes back must not grow with what somebody sends

#: A delivery is to be kept, a challenge (in words) to be echoed.
Admitted: TypeAlias = Delivery | str


class Door:
    """The checks, in the order that tells a stranger the least."""

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        self._keys = settings.signing_keys
        self._window = settings.freshness_seconds
        self._now = now

    def admit(self, body: bytes, *, timestamp: str, signature: str, challenge: str | None) -> Admitted:
        """What to do with it. Raises Refused."""
        received = self._now()
        position = verify(body, timestamp=timestamp, signature=signature, keys=self._keys)
        metrics.signing_keys(position).inc()
        check_freshness(timestamp, now=received, window=self._window)
        if challenge is not None:
            return _echoed(challenge)
        return Delivery(id=_new_id(), received_at=datetime.fromtimestamp(received, UTC), body=body)


def tell_refused(exc: Refused, seconds: float) -> None:
    """Count and log it."""
    metrics.DELIVERIES.labels(exc.code).inc()
    metrics.DOOR_SECONDS.observe(seconds)
    log.info("refused", code=exc.code, reason=str(exc))


def said(admitted: Admitted) -> dict[str, object]:
    """What the sender is told, once a delivery is kept."""
    return {"delivery_id": admitted.id} if isinstance(admitted, Delivery) else {"challenge": admitted}


def _echoed(challenge: str) -> str:
    if len(challenge) > MAX_CHALLENGE:
        raise ChallengeTooLong(f"X-Front-Challenge is over {MAX_CHALLENGE} characters")
    metrics.DELIVERIES.labels("challenge").inc()
    return challenge


def _new_id() -> str:
    # Unique, not secret: reseeded in every fork, and no system call in which another thread takes over.
    return f"{random.getrandbits(128):032x}"
