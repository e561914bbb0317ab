"""How an answer leaves the socket: whole, cut, slowly, too long, or not at all."""

from __future__ import annotations

import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING

from sandbox.http_messages import Answer, Stream

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

PIECES = 20
PADDING = b" " * 65536
BODILESS = frozenset({204, 304})


def write(connection: socket.socket, answer: Answer, stopping: threading.Event) -> bool:
    """Send an answer in its manner; whether the connection may be used again."""
    match answer.manner:
        case "plain":
            _send_all(connection, answer)
            return True
        case "silent":
            stopping.wait(answer.seconds)
        case "reset":
            reset(connection)
        case "cut":
            _send_half(connection, answer)
        case "slow":
            _send_slowly(connection, answer, stopping)
        case "oversized":
            _send_too_much(connection, answer)
    return False


def reset(connection: socket.socket) -> None:
    """Let the closing of this connection be a reset: the peer gets no end of file but an error."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def will_reset(connection: socket.socket) -> bool:
    """Whether `reset` was called on it."""
    return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)[0])


def _head(answer: Answer, *, length: int | None) -> bytes:
    reason = HTTPStatus(answer.status).phrase
    lines = [f"HTTP/1.1 {answer.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.status not in BODILESS:
        lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _length(answer: Answer) -> int:
    return answer.body.length if isinstance(answer.body, Stream) else len(answer.body)


def _chunks(answer: Answer) -> Iterator[bytes]:
    if isinstance(answer.body, Stream):
        return answer.body.chunks()
    return iter([answer.body])


def _send_all(connection: socket.socket, answer: Answer) -> None:
    head = _head(answer, length=_length(answer))
    if isinstance(answer.body, bytes):
        connection.sendall(head + answer.body)
        return
    connection.sendall(head)
    for chunk in _chunks(answer):
        connection.sendall(chunk)


def _send_half(connection: socket.socket, answer: Answer) -> None:
    """Promise the whole body and close in the middle of it; without a body, in the middle of the head."""
    head, length = _head(answer, length=_length(answer)), _length(answer)
    if not length:
        connection.sendall(head[: len(head) // 2])
        return
    connection.sendall(head)
    left = length // 2
    for chunk in _chunks(answer):
        connection.sendall(chunk[:left])
        left -= len(chunk[:left])
        if not left:
            return


def _send_slowly(connection: socket.socket, answer: Answer, stopping: threading.Event) -> None:
    """Stretch the body, or a head without one, over the time given."""
    head = _head(answer, length=_length(answer))
    content = b"".join(_chunks(answer))
    if content:
        connection.sendall(head)
    else:
        content = head
    step = max(1, -(-len(content) // PIECES))
    for start in range(0, len(content), step):
        if stopping.wait(answer.seconds / PIECES):
            return
        connection.sendall(content[start : start + step])


def _send_too_much(connection: socket.socket, answer: Answer) -> None:
    """Send the body and then blanks, in chunks, so that no length warns of them."""
    connection.sendall(_head(answer, length=None))
    for chunk in _chunks(answer):
        _send_chunk(connection, chunk)
    for start in range(0, answer.surplus, len(PADDING)):
        _send_chunk(connection, PADDING[: answer.surplus - start])
    connection.sendall(b"0\r\n\r\n")


def _send_chunk(connection: socket.socket, chunk: bytes) -> None:
    if chunk:
        connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
