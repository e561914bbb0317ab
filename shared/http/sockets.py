"""Connections that go to allowed addresses only, and end every send and read by a deadline.

A timeout of `requests` starts again with every byte, so an answer that arrives byte by byte holds a worker for hours.
Here the socket's timeout is set to the rest of the deadline before every send and every read, headers included.
"""

from __future__ import annotations

import http.client
import io
import math
import re
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import allowed_gai_family, create_connection

from shared.errors import UnsafeRedirect

CONNECT_SECONDS = 3.0
IDLE_SECONDS = 10.0
#: Scheme and host of a URL.
_ORIGIN = re.compile(r"[^/]+//[^/?#]+")


class RequestContext:
    """The state that one thread's connections share.

    `is_allowed` decides about an IP address; None allows all. `deadline` is a time of the monotonic clock. A read ends
    after `idle_seconds` without a byte. `sent`: some of the request may have left.
    """

    def __init__(self, *, is_allowed: Callable[[str], bool] | None = None, idle_seconds: float = IDLE_SECONDS):
        self.is_allowed = is_allowed
        self.idle_seconds = idle_seconds
        self.deadline = math.inf
        self.sent = True

    def seconds_left(self) -> float:
        """Return the seconds until the deadline. Raises TimeoutError when it has passed."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the deadline has passed")
        return seconds


class DeadlineAdapter(HTTPAdapter):
    """An adapter of requests whose connections keep to the context, and never use a proxy."""

    def __init__(self, context: RequestContext):
        self._context = context
        self._last_pool: tuple[str | None, Any] = None, None
        super().__init__(max_retries=0, pool_connections=2, pool_maxsize=2)

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Return the pool of the request's host. It is nearly always the last one, which needs no search."""
        found = _ORIGIN.match(request.url or "")
        origin, (last_origin, pool) = found and found.group(), self._last_pool
        if pool is None or last_origin != origin:
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._last_pool = origin, pool
        return pool

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:  # noqa: ARG002 -- there are no proxies
        """Return the path and query for the request line."""
        return request.path_url

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": partial(_HttpPool, context=self._context),
            "https": partial(_HttpsPool, context=self._context),
        }


#: Values of SO_LINGER: on with no time, or off.
_DISCARD, _KEEP = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)


class _DeadlineHttpConnection(HTTPConnection):
    def __init__(self, *args: Any, context: RequestContext, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._context = context
        self.response_class = partial(_DeadlineResponse, context=context)  # type: ignore[assignment]  # it is called

    def _new_conn(self) -> socket.socket:
        """Connect to an address that was checked. Another DNS query could return a different one."""
        self._context.sent = False
        failure: OSError | None = None
        try:
            for address in self._addresses():
                try:
                    return self._connect_to(address)
                except OSError as exc:
                    failure = exc
            raise failure or OSError("no address")
        except TimeoutError as exc:
            raise ConnectTimeoutError(self, "connecting timed out") from exc
        except OSError as exc:
            raise NewConnectionError(self, "could not connect") from exc

    def _addresses(self) -> list[str]:
        found = socket.getaddrinfo(self.host, self.port, allowed_gai_family(), socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        is_allowed = self._context.is_allowed
        if is_allowed and not all(is_allowed(address) for address in addresses):
            raise UnsafeRedirect("the server has an address that is not public; nothing was sent to it")
        return addresses

    def _connect_to(self, address: str) -> socket.socket:
        seconds = min(CONNECT_SECONDS, self._context.seconds_left())
        return create_connection((address, self.port), seconds, socket_options=self.socket_options)

    def send(self, data: Any) -> None:
        """Send before the deadline. A process that was frozen until later sends nothing."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self._context.seconds_left())
        self._context.sent = True
        _discard_at_close(self.sock, _DISCARD)
        super().send(data)

    def getresponse(self) -> Any:
        """Wait for the head of the answer. The request has arrived then, so the connection may end in the usual way."""
        sock = self.sock
        response = super().getresponse()
        with suppress(OSError):
            _discard_at_close(sock, _KEEP)
        return response


class _DeadlineHttpsConnection(_DeadlineHttpConnection, HTTPSConnection):
    pass


def _discard_at_close(sock: socket.socket, linger: bytes) -> None:
    """Say what becomes of bytes that were not acknowledged when the connection is closed, or the process dies.

    The kernel would go on sending them for minutes. While the network is away, another worker takes the task over, and
    a request that arrives after that would do it again.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _DeadlineHttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _DeadlineHttpsConnection


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, context: RequestContext, **kwargs: Any):
        super().__init__(sock, *args, **kwargs)
        self._reader = _TimedReader(self.fp.detach(), sock, context)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the head. Raises RemoteDisconnected for a head that is cut off; http.client takes it for a whole one."""
        super().begin()
        if self._reader.ended:
            raise http.client.RemoteDisconnected("the connection ended within the head of the answer")


class _TimedReader(io.RawIOBase):
    """The socket's reader, with a timeout for each read that ends by the deadline."""

    def __init__(self, reader: io.RawIOBase, sock: socket.socket, context: RequestContext):
        self._reader, self._sock, self._context = reader, sock, context
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(min(self._context.idle_seconds, self._context.seconds_left()))
        count = self._reader.readinto(buffer)
        self.ended = self.ended or count == 0
        return count

    def close(self) -> None:
        self._reader.close()
        super().close()
