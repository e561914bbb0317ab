"""Connections whose every send and read ends by a deadline, and that lead only to addresses that are allowed.

A timeout of `requests` starts anew with every byte, so an answer that drips holds a worker for hours. Here the socket's
timeout is set to what is left of the deadline before every send and every read, headers included.
"""

from __future__ import annotations

import http.client
import io
import math
import re
import socket
import time
from collections.abc import Callable
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


class Watch:
    """What one thread's connections must know: until when, to whom, and whether anything has left."""

    def __init__(self, *, may_reach: Callable[[str], bool] | None = None):
        self.may_reach = may_reach
        self.ends_at = math.inf
        self.sent = True

    def left(self) -> float:
        """Seconds until the deadline. Raises TimeoutError when there is none left."""
        seconds = self.ends_at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the deadline has passed")
        return seconds


#: Scheme and host of an address.
_ORIGIN = re.compile(r"[^/]+//[^/?#]+")


class WatchedAdapter(HTTPAdapter):
    """Opens watched connections for a session of requests, never through a proxy."""

    def __init__(self, watch: Watch):
        self._watch = watch
        self._latest: tuple[str | None, Any] = None, None
        super().__init__(max_retries=0, pool_connections=2, pool_maxsize=2)

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The connections to the request's host; nearly always it is the one of before, which needs no search."""
        found = _ORIGIN.match(request.url or "")
        origin, (latest, pool) = found and found.group(), self._latest
        if pool is None or latest != origin:
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._latest = origin, pool
        return pool

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:  # noqa: ARG002 -- there are none
        """What is asked of the host."""
        return request.path_url

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": partial(_Pool, watch=self._watch),
            "https": partial(_PoolTls, watch=self._watch),
        }


class _Connection(HTTPConnection):
    def __init__(self, *args: Any, watch: Watch, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._watch = watch
        self.response_class = partial(_Response, watch=watch)  # type: ignore[assignment]  # it is only called

    def _new_conn(self) -> socket.socket:
        """Connect to an address that was checked: a second look-up could answer another one."""
        self._watch.sent = False
        last: OSError | None = None
        try:
            for address in self._addresses():
                try:
                    return self._connect_to(address)
                except OSError as exc:
                    last = exc
            raise last or OSError("no address")
        except TimeoutError as exc:
            raise ConnectTimeoutError(self, "connecting timed out") from exc
        except OSError as exc:
            raise NewConnectionError(self, "could not connect") from exc

    def _addresses(self) -> list[str]:
        found = socket.getaddrinfo(self.host, self.port, allowed_gai_family(), socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        may_reach = self._watch.may_reach
        if may_reach and not all(may_reach(address) for address in addresses):
            raise UnsafeRedirect("a download was redirected to an address that is not public; it was not followed")
        return addresses

    def _connect_to(self, address: str) -> socket.socket:
        seconds = min(CONNECT_SECONDS, self._watch.left())
        return create_connection((address, self.port), seconds, socket_options=self.socket_options)

    def send(self, data: Any) -> None:
        """Send within the deadline; a process that was frozen meanwhile sends nothing late."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self._watch.left())
        self._watch.sent = True
        super().send(data)


class _ConnectionTls(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _PoolTls(HTTPSConnectionPool):
    ConnectionCls = _ConnectionTls


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, watch: Watch, **kwargs: Any):
        super().__init__(sock, *args, **kwargs)
        self._reader = _TimedReader(self.fp.detach(), sock, watch)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the head; http.client takes one that is cut for a whole one, and its body for whatever came."""
        super().begin()
        if self._reader.ended:
            raise http.client.RemoteDisconnected("the connection ended within the head of the answer")


class _TimedReader(io.RawIOBase):
    """The socket's reader, with a timeout for each read that never goes past the deadline."""

    def __init__(self, reader: io.RawIOBase, sock: socket.socket, watch: Watch):
        self._reader, self._sock, self._watch = reader, sock, watch
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(min(IDLE_SECONDS, self._watch.left()))
        count = self._reader.readinto(buffer)
        self.ended = self.ended or count == 0
        return count

    def close(self) -> None:
        self._reader.close()
        super().close()
