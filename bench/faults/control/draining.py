"""Waits until the broker holds nothing any more, having given every message its chance to come back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import redis

from bench.faults.control.publisher import QUEUE
from bench.faults.control.textbook import textbook

if TYPE_CHECKING:
    from celery import Celery

DRAINS_WITHIN = 600.0  # seconds; a crowded machine works slowly
EMPTY_LOOKS = 3
LOOKS_EVERY = 1.0


class NotDrained(Exception):
    """The broker still holds messages, so nothing can be said about those that are missing."""


def drain(broker_url: str) -> float:
    """Return once queue and `unacked` are empty; the seconds it took.

    What a killed worker had taken lies in `unacked` until its visibility timeout is over and a worker puts it back,
    which kombu does every 100 seconds: the same function of kombu is called here every second.
    Needs living workers. What is missing from their effects afterwards is in no place it could ever come back from.
    """
    began = time.monotonic()
    app, broker = textbook(broker_url), redis.Redis.from_url(broker_url, socket_timeout=5)
    empty = 0
    while empty < EMPTY_LOOKS:
        held = broker.llen(QUEUE), broker.hlen("unacked")
        if time.monotonic() - began > DRAINS_WITHIN:
            raise NotDrained(f"{held[0]} messages queued and {held[1]} unacknowledged after {DRAINS_WITHIN:g} s")
        empty = 0 if any(held) else empty + 1
        _restore(app)
        time.sleep(LOOKS_EVERY)
    app.close()
    broker.close()
    return time.monotonic() - began


def _restore(app: Celery) -> None:
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel  # of kombu's Redis transport
        channel.qos.restore_visible(num=None, interval=1)
