"""Sends numbers as tasks, as a web view would, and remembers those whose sending was acknowledged."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self, cast

import redis
from kombu.exceptions import OperationalError

from bench.faults.control.textbook import COUNT, textbook

if TYPE_CHECKING:
    from celery import Celery

QUEUE = "celery"
THREADS = 2
BACKLOG = 1500  # messages; enough that no worker is ever idle, few enough that every kill meets fresh ones
LOOKS_EVERY = 50  # messages
STOPS_WITHIN = 60.0


class Publisher:
    """Sends while it is open, as fast as the backlog allows."""

    def __init__(self, broker_url: str) -> None:
        self.acknowledged: set[int] = set()
        self.refused = 0
        self._app: Celery = textbook(broker_url)
        self._broker = redis.Redis.from_url(broker_url, socket_timeout=5)
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, name="publisher") for _ in range(THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(STOPS_WITHIN)
        self._app.close()
        self._broker.close()

    def _send(self) -> None:
        while not self._stop.is_set():
            self._wait_for_workers()
            for number in itertools.islice(self._numbers, LOOKS_EVERY):
                self._send_one(number)

    def _send_one(self, number: int) -> None:
        try:
            self._app.tasks[COUNT].delay(number)
        except (OperationalError, redis.RedisError, OSError):  # not acknowledged; it may run all the same
            self.refused += 1
            self._stop.wait(0.05)
        else:
            self.acknowledged.add(number)

    def _wait_for_workers(self) -> None:
        with suppress(redis.RedisError):
            while not self._stop.is_set() and cast("int", self._broker.llen(QUEUE)) > BACKLOG:
                time.sleep(0.02)
