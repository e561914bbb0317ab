"""Sends webhooks from its own process: `python -m bench.door.load` reads an Order and prints an Outcome, as JSON.

`python -m bench.door.load limit PORT` is a server that answers without reading requests: the limit of this sender.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import selectors
import socket
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.harness.timing import percentile
from bench.harness.webhooks import signed_requests

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = 200
#: After the last request; answers that are still missing then count as errors.
DRAIN_SECONDS = 15.0
SEND_BUFFER = 256 * 1024  # a whole request fits, so that none is sent in two pieces
PIECE = 64 * 1024
LENGTH = b"content-length:"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Order:
    """With `per_second` 0 the load is closed: each connection sends again once it was answered."""

    port: int
    key: str
    body_bytes: int
    connections: int
    seconds: float
    warm_up_seconds: float
    per_second: float = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`accepted` counts every 200, also while warming up; the other figures are of the measured time alone.

    Milliseconds count from the moment a request was due, so that a stalled server cannot hide the requests behind it.
    `sender_cpu_share` is of one core.
    """

    accepted: int
    errors: int
    answers_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    sender_cpu_share: float


def message_length(received: bytes, *, body_length: int | None = None) -> int | None:
    """Return the bytes of a whole HTTP message, or None while its head is incomplete.

    `body_length` is that of a message without Content-Length. Raises ValueError where neither is given.
    """
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = received[:head_end].lower()
    begin = head.find(LENGTH)
    if begin >= 0:
        body_length = int(head[begin + len(LENGTH) :].split(b"\r\n", 1)[0])
    if body_length is None:
        raise ValueError("an HTTP message without Content-Length")
    return head_end + 4 + body_length


class Connection:
    """A keep-alive connection for one request at a time, with as little work as Python allows.

    `due` is the moment at which the request under way should have been sent; None without one.
    """

    __slots__ = ("_received", "due", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.socket.settimeout(0)
        self.due: float | None = None
        self._received = b""

    def send(self, request: bytes, due: float) -> None:
        """Send one request. Raises OSError."""
        self.due = due
        if self.socket.send(request) != len(request):
            raise BlockingIOError("the request did not fit into the socket")

    def receive(self) -> int | None:
        """Return the status once the answer is complete. Raises OSError, also when closed, and ValueError."""
        piece = self.socket.recv(PIECE)
        if not piece:
            raise ConnectionResetError("the connection was closed")
        self._received += piece
        length = message_length(self._received)
        if length is None or len(self._received) < length:
            return None
        status = int(self._received[9:12])
        self._received, self.due = b"", None
        return status


class Load:
    """Carries out one order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._requests = itertools.cycle(signed_requests(order.key.encode(), order.body_bytes))
        self._selector = selectors.DefaultSelector()
        self._idle: deque[Connection] = deque()
        self._under_way = 0
        self._accepted = self._errors = 0
        self._ended: list[tuple[float, float]] = []  # the moment, and the seconds since the request was due

    def run(self) -> Outcome:
        """Send for as long as was ordered, then wait for the missing answers."""
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
                self._send(upcoming if self._order.per_second else now)
                upcoming = next(due)
            self._receive(min(until, max(upcoming, now)) - now if self._idle else until - now)

    def _due_from(self, begin: float) -> Iterator[float]:
        """Yield when each request is due; under closed load at once."""
        if not self._order.per_second:
            return itertools.repeat(begin)
        return (begin + number / self._order.per_second for number in itertools.count())

    def _drain(self) -> None:
        until = time.perf_counter() + DRAIN_SECONDS
        while self._under_way and (now := time.perf_counter()) < until:
            self._receive(until - now)
        self._errors += self._under_way

    def _send(self, due: float) -> None:
        connection = self._idle.popleft()
        self._under_way += 1
        try:
            connection.send(next(self._requests), due)
        except OSError:
            self._replace(connection)

    def _receive(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            connection: Connection = key.data
            due = connection.due
            try:
                status = connection.receive()
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
        """Open another connection; one that the server closed between requests is no error."""
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


class Answers(asyncio.Protocol):
    """Counts the bytes of each request and answers 200."""

    def __init__(self) -> None:
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport for the answers."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once a request is complete; the sender sends its head in one piece."""
        self._missing = (self._missing or message_length(data, body_length=0) or 0) - len(data)
        if self._missing == 0:
            self._transport.write(ANSWER)


async def serve(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:2] == ["limit"]:
        asyncio.run(serve(int(sys.argv[2])))
    else:
        json.dump(asdict(Load(Order(**json.load(sys.stdin))).run()), sys.stdout)
