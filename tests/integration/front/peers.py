"""A raw server on loopback. It answers each request with bytes of its script and keeps all requests."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

Reply = bytes | Callable[[socket.socket], None]


def answer(status: str = "200 OK", body: bytes = b"", **headers: object) -> bytes:
    """Return a complete HTTP answer; `content_length=…` overrides the length of the body."""
    named = {"content_length": len(body), **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def drip(content: bytes, *, seconds: float = 0.05) -> Callable[[socket.socket], None]:
    """Send one byte at a time, each long before any read timeout."""

    def say(connection: socket.socket) -> None:
        for byte in content:
            connection.sendall(bytes([byte]))
            time.sleep(seconds)

    return say


def silence(connection: socket.socket) -> None:
    """Send nothing until the client closes the connection."""
    connection.settimeout(5)
    while connection.recv(65536):
        pass


class Peer:
    """A server that listens until the end of the block. It repeats the last reply; an empty script hangs up."""

    def __init__(self, *script: Reply, reads_first: bool = True):
        self.requests: list[bytes] = []
        self.connections = 0
        self._script = list(script)
        self._reads_first = reads_first
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._listen, daemon=True)

    @property
    def port(self) -> int:
        """The port of the server."""
        number: int = self._listener.getsockname()[1]
        return number

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while self._script:
                if self._reads_first and not self._read(connection):
                    return
                say = self._script.pop(0) if len(self._script) > 1 else self._script[0]
                if callable(say):
                    say(connection)
                    return
                connection.sendall(say)

    def _read(self, connection: socket.socket) -> bool:
        """Read one request with its body; return false at the end of the connection."""
        received = b""
        while b"\r\n\r\n" not in received:
            if not (chunk := connection.recv(65536)):
                return False
            received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return True
