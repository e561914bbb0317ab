"""Tries a read again when the trouble may pass within seconds; the one owner of waits inside a call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

import tenacity

from shared.errors import FrontUnavailable, ShuttingDown

MOST_TRIES: Final = 3
MOST_SECONDS: Final = 10.0
T = TypeVar("T")


def patiently(ask: Callable[[], T], *, stop: threading.Event) -> T:
    """What `ask` returns, within 3 tries and 10 seconds. Never for writes: a second one may be a second change."""

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise ShuttingDown("this worker is stopping; the task goes back")

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(MOST_TRIES) | tenacity.stop_before_delay(MOST_SECONDS),
        wait=tenacity.wait_random_exponential(multiplier=0.25, max=2),
        retry=tenacity.retry_if_exception(_may_pass_soon),
        sleep=sleep,
        reraise=True,
    )
    return retrying(ask)


def _may_pass_soon(error: BaseException) -> bool:
    """Front unreachable or failing, unless it has named a time itself."""
    return isinstance(error, FrontUnavailable) and not error.retry_after
