"""A process consumes its queue while its event loop goes round and it takes what waits."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from workers.process import watchdog
from workers.process.liveness import Liveness, ProcessSample
from workers.process.watchdog import DEAF_SECONDS, Watchdog


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watchdog:
    """A watchdog of a worker with an event loop, which samples nothing by itself."""
    monkeypatch.setattr(watchdog, "QueueDepth", lambda *_: None)
    amqp = SimpleNamespace(queues=SimpleNamespace(consume_from={"work": None}))
    worker = SimpleNamespace(app=SimpleNamespace(amqp=amqp), hub=SimpleNamespace(on_tick=set()))
    return Watchdog(cast("Any", worker), "redis://127.0.0.1:1/0", stuck_seconds=600)


def liveness(not_consuming: float) -> Liveness:
    sample = ProcessSample(at=time.monotonic(), waiting=3, received=0, busy=0, slots=4)
    return Liveness(last=sample, not_consuming=not_consuming)


def test_a_process_that_has_not_begun_is_not_ready(watched: Watchdog) -> None:
    assert watched.check() == (False, "starts")


@pytest.mark.parametrize(("seconds", "is_right"), [(0.0, True), (DEAF_SECONDS - 1, True), (DEAF_SECONDS, False)])
def test_a_process_that_takes_nothing_of_what_waits_is_not_ready(
    watched: Watchdog, seconds: float, is_right: bool
) -> None:
    watched._liveness = liveness(seconds)
    assert watched.check()[0] is is_right


def test_a_process_whose_event_loop_stands_still_is_not_ready(
    watched: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched._liveness = liveness(0.0)
    watched._last_turn.note()
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert watched.check() == (False, "stands still for 60 s")
