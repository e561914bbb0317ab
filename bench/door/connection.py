"""One keep-alive connection that asks and is answered, one request at a time, with as little work as Python allows."""

from __future__ import annotations

import socket

from bench.door.message import whole_length

SEND_BUFFER = 256 * 1024  # a whole request fits, so that none is sent in two pieces
PIECE = 64 * 1024


class Connection:
    """`due`: when the request that is under way should have been sent; None while there is none."""

    __slots__ = ("_received", "due", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.socket.settimeout(0)
        self.due: float | None = None
        self._received = b""

    def ask(self, request: bytes, due: float) -> None:
        """Send one request. Raises OSError."""
        self.due = due
        if self.socket.send(request) != len(request):
            raise BlockingIOError("the request did not fit into the socket")

    def hear(self) -> int | None:
        """The status once the answer is complete. Raises OSError, also when the other side hung up, and ValueError."""
        piece = self.socket.recv(PIECE)
        if not piece:
            raise ConnectionResetError("the connection was closed")
        self._received += piece
        whole = whole_length(self._received)
        if whole is None or len(self._received) < whole:
            return None
        status = int(self._received[9:12])
        self._received, self.due = b"", None
        return status
