"""Sends webhooks from a process of its own: `python -m bench.door.load`, an Order on stdin, an Outcome on stdout."""

from __future__ import annotations

import itertools
import json
import selectors
import sys
import time
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING

from bench.door.connection import Connection
from bench.door.order import Order, Outcome
from bench.door.percentile import percentile
from bench.door.webhooks import signed_requests

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = 200
#: For the answers that are still owed at the end; then they count as errors.
DRAIN_SECONDS = 15.0


class Load:
    """One run of an order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._requests = itertools.cycle(signed_requests(order.key.encode(), order.body_bytes))
        self._selector = selectors.DefaultSelector()
        self._idle: deque[Connection] = deque()
        self._under_way = 0
        self._accepted = self._errors = 0
        self._ended: list[tuple[float, float]] = []  # when, and how long after it was due

    def run(self) -> Outcome:
        """Send for as long as was ordered, then wait for what is owed."""
        for _ in range(self._order.connections):
            self._connect()
        began = time.perf_counter()
        measured_from = began + self._order.warm_up_seconds
        until = measured_from + self._order.seconds
        self._send_until(began, measured_from)
        cpu = time.process_time()
        self._send_until(measured_from, until)
        cpu = time.process_time() - cpu
        self._drain()
        return self._outcome(measured_from, until, cpu / self._order.seconds)

    def _send_until(self, begin: float, until: float) -> None:
        due = self._due_from(begin)
        upcoming = next(due)
        while (now := time.perf_counter()) < until:
            while self._idle and upcoming <= now:
                self._ask(upcoming if self._order.per_second else now)
                upcoming = next(due)
            self._hear(min(until, max(upcoming, now)) - now if self._idle else until - now)

    def _due_from(self, begin: float) -> Iterator[float]:
        """When each request is due; under closed load at once."""
        if not self._order.per_second:
            return itertools.repeat(begin)
        return (begin + number / self._order.per_second for number in itertools.count())

    def _drain(self) -> None:
        until = time.perf_counter() + DRAIN_SECONDS
        while self._under_way and (now := time.perf_counter()) < until:
            self._hear(until - now)
        self._errors += self._under_way

    def _ask(self, due: float) -> None:
        connection = self._idle.popleft()
        self._under_way += 1
        try:
            connection.ask(next(self._requests), due)
        except OSError:
            self._replace(connection)

    def _hear(self, patience: float) -> None:
        for key, _ in self._selector.select(patience):
            connection: Connection = key.data
            due = connection.due
            try:
                status = connection.hear()
            except OSError:
                self._replace(connection)
                continue
            if status is not None and due is not None:
                self._count(status, due)
                self._idle.append(connection)

    def _count(self, status: int, due: float) -> None:
        self._under_way -= 1
        if status == OK:
            now = time.perf_counter()
            self._accepted += 1
            self._ended.append((now, now - due))
        else:
            self._errors += 1

    def _connect(self) -> None:
        connection = Connection(self._order.port)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        self._idle.append(connection)

    def _replace(self, connection: Connection) -> None:
        """A connection that a server closed while nothing was asked is nobody's fault."""
        self._selector.unregister(connection.socket)
        connection.socket.close()
        if connection.due is not None:
            self._under_way -= 1
            self._errors += 1
        else:
            self._idle.remove(connection)
        self._connect()

    def _outcome(self, begin: float, end: float, cpu_share: float) -> Outcome:
        waits = sorted(wait for at, wait in self._ended if begin <= at < end)
        return Outcome(
            accepted=self._accepted,
            errors=self._errors,
            answers_per_second=len(waits) / (end - begin),
            p50_ms=1000 * percentile(waits, 0.50),
            p95_ms=1000 * percentile(waits, 0.95),
            p99_ms=1000 * percentile(waits, 0.99),
            sender_cpu_share=cpu_share,
        )


if __name__ == "__main__":
    json.dump(asdict(Load(Order(**json.load(sys.stdin))).run()), sys.stdout)
