"""Many slow senders from one thread: each sends one byte a second."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"POST /webhooks/front HTTP/1.1\r\nHost: door\r\n"
#: The part that is sent at once; the rest follows at one byte a second.
SLOW_HEADERS = HEAD
SLOW_BODY = HEAD + b"Content-Length: 100000\r\n\r\n"
SLOW_CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n"


class Drip:
    """Connections that send one byte a second until the server closes them; `answers` has what the server sent."""

    def __init__(self, port: int, count: int, beginning: bytes) -> None:
        self._port = port
        self._count = count
        self._beginning = beginning
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self.answers: list[bytes] = []
        self.open = 0

    def connect(self) -> None:
        for _ in range(self._count):
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=20)
            connection.sendall(self._beginning)
            connection.settimeout(0)
            self._selector.register(connection, selectors.EVENT_READ)
            self.open += 1

    def run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(timeout=1.0):
                self._hear(key.fileobj)  # type: ignore[arg-type]
            self._stop.wait(1.0)
            for key in list(self._selector.get_map().values()):
                self._say(key.fileobj)  # type: ignore[arg-type]
        for key in list(self._selector.get_map().values()):
            self._close(key.fileobj)  # type: ignore[arg-type]
        self._selector.close()

    def stop(self) -> None:
        self._stop.set()

    def _say(self, connection: socket.socket) -> None:
        try:
            connection.send(b"x")
        except OSError:
            self._close(connection)

    def _hear(self, connection: socket.socket) -> None:
        try:
            heard = connection.recv(4096)
        except OSError:
            heard = b""
        if heard:
            self.answers.append(heard)
        else:
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()
        self.open -= 1


@contextmanager
def dripping(port: int, count: int, beginning: bytes) -> Iterator[Drip]:
    """Run `count` slow senders until the end of the block."""
    drip = Drip(port, count, beginning)
    drip.connect()
    thread = threading.Thread(target=drip.run)
    thread.start()
    try:
        yield drip
    finally:
        drip.stop()
        thread.join()
