"""Writes down what has happened, for as long as PostgreSQL is away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from shared.errors import StoreUnavailable

#: Between two tries while PostgreSQL is away.
AGAIN_SECONDS = 0.5
T = TypeVar("T")
log = structlog.get_logger()


def persist(write: Callable[[], T], *, stop: threading.Event, event: str, **named: int) -> T:
    """What `write` returns; `event` is logged with each failure. Raises StoreUnavailable only when asked to stop."""
    while True:
        try:
            return write()
        except StoreUnavailable as exc:
            log.warning(event, reason=str(exc), **named)
            if stop.wait(AGAIN_SECONDS):
                raise
