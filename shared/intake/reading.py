"""Reads what Redis answers to the intake's commands, with libvalkey's reader, which is written in C.

redis-py and kombu do not pick libvalkey up by themselves: Celery keeps the parser whose behaviour under faults was
measured.
"""

from __future__ import annotations

from ssl import SSLWantReadError
from typing import TYPE_CHECKING, Any

import redis
from libvalkey import Reader, ReplyError
from redis._parsers import BaseParser

from shared.redis_clients import is_unfit

if TYPE_CHECKING:
    import asyncio

PIECE = 64 * 1024
CLOSED = "the connection was closed"
MORE = object()  # a reply is not here yet; None and False are replies


async def read_replies(stream: asyncio.StreamReader, count: int) -> list[Any]:
    """The next `count` replies; an error of Redis is a value among them. Raises RedisError.

    More replies than were asked for are nobody's: the connection must not be used again. Nor must it after an error
    that says that this server takes no writes; it is raised although some of the commands may have been done.
    """
    reader = Reader(protocolError=redis.InvalidResponse, notEnoughData=MORE)
    replies: list[Any] = []
    while len(replies) < count:
        if not (piece := await stream.read(PIECE)):
            raise redis.ConnectionError(CLOSED)
        reader.feed(piece)
        while len(replies) < count and (reply := reader.gets()) is not MORE:
            replies.append(reply)
    if reader.has_data():
        raise redis.InvalidResponse("Redis sent more replies than it got commands")
    for reply in replies:
        if isinstance(reply, ReplyError) and is_unfit(reply):
            raise redis.ConnectionError(str(reply))
    return replies


class IntakeParser(BaseParser):
    """A parser for redis-py's connections that give bytes; for `parser_class`."""

    def __init__(self, socket_read_size: int) -> None:
        self._piece = socket_read_size
        self._sock: Any = None

    def on_connect(self, connection: Any) -> None:
        """Read from this connection's socket from now on."""
        self._sock = connection._sock
        self._timeout = connection.socket_timeout
        self._reader = Reader(protocolError=redis.InvalidResponse, replyError=self.parse_error, notEnoughData=MORE)

    def on_disconnect(self) -> None:
        """Forget the socket."""
        self._sock = None

    def can_read(self, timeout: float) -> bool:
        """Whether something is here, or comes within so many seconds. Raises ConnectionError when the socket closed."""
        if self._reader.has_data():
            return True
        self._sock.settimeout(timeout)
        try:
            self._receive()
        except (BlockingIOError, TimeoutError, SSLWantReadError):  # the last one is TLS's word for the first
            return False
        finally:
            self._sock.settimeout(self._timeout)
        return True

    def read_response(self, disable_decoding: bool = False) -> Any:  # noqa: ARG002 - redis-py's signature
        """The next reply; an error of Redis is given back, unless it ends the connection."""
        if self._sock is None:
            raise redis.ConnectionError(CLOSED)
        while (reply := self._reader.gets()) is MORE:
            self._receive()
        if isinstance(reply, redis.ConnectionError):
            raise reply
        return reply

    def _receive(self) -> None:
        if not (piece := self._sock.recv(self._piece)):
            raise redis.ConnectionError(CLOSED)
        self._reader.feed(piece)
