"""How the application hands a delivery to a server that gives the answer out later, when the delivery is kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from shared import failpoints
from shared.errors import NothingStored
from shared.process import metrics

if TYPE_CHECKING:
    from ingest.keeper import Outcome
    from shared.models import Delivery

log = structlog.get_logger(__name__)

HOLD = "mailroom.hold"  # in the WSGI environment; the server that puts a Hold there must keep what it finds in it


class Hold:
    """A place for the delivery of one request. What is found there when the application has answered must be kept."""

    __slots__ = ("began", "delivery")

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.delivery: Delivery | None = None


def tell(delivery: Delivery, outcome: Outcome, seconds: float) -> None:
    """Count and log what became of a delivery; the last thing before its answer."""
    metrics.DOOR_SECONDS.observe(seconds)
    if isinstance(outcome, NothingStored):
        metrics.DELIVERIES.labels(outcome.code).inc()
        log.warning("not kept", delivery=delivery.id, code=outcome.code, reason=str(outcome))
    else:
        metrics.deliveries(outcome).inc()
        log.debug("kept", delivery=delivery.id, place=outcome, size=len(delivery.body))
        failpoints.reach("kept_before_answer")
