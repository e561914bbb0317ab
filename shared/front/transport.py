"""Sends a request and reads its answer under a deadline by the wall clock, and only to addresses that are allowed.

A timeout of `requests` starts anew with every byte, so an answer that drips holds a worker for hours. Here the socket's
timeout is set to what is left of the deadline before every send and every read, headers included.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.util.connection import allowed_gai_family, create_connection

from shared.errors import UnsafeRedirect

CONNECT_SECONDS = 3.0
IDLE_SECONDS = 10.0
CHUNK_BYTES = 256 * 1024
_TIMEOUTS = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)


class NoAnswer(Exception):
    """No whole answer came. `sent`: some of the request may have left. `timed_out`: it took too long."""

    def __init__(self, *, sent: bool, timed_out: bool):
        super().__init__("took too long" if timed_out else "broke off")
        self.sent = sent
        self.timed_out = timed_out


class Line:
    """One thread's kept-alive connections; a request inside another's deadline only has less time."""

    def __init__(self, *, user_agent: str, may_reach: Callable[[str], bool] | None = None):
        self.may_reach = may_reach
        self.sent = True
        self._ends_at = math.inf
        self._session = _Session(self)
        self._session.headers["User-Agent"] = user_agent

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Give everything inside `seconds` in all, or less when less was left before."""
        before = self._ends_at
        self._ends_at = min(before, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._ends_at = before

    def left(self) -> float:
        """Seconds until the deadline. Raises TimeoutError when there is none left."""
        seconds = self._ends_at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the deadline has passed")
        return seconds

    @contextmanager
    def open(
        self, method: str, url: str, *, headers: Mapping[str, str], body: Any = None
    ) -> Iterator[requests.Response]:
        """The answer as soon as its headers are here. Raises NoAnswer; redirects are answers like any other."""
        self.sent = True  # unless a new connection proves that nothing left
        with self._translated():
            self.left()
            response = self._session.request(
                method,
                url,
                headers=dict(headers),
                json=body,
                timeout=(CONNECT_SECONDS, IDLE_SECONDS),
                allow_redirects=False,
                stream=True,
            )
        try:
            yield response
        finally:
            response.close()

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The body as it arrives, in pieces of at most 256 KiB, as sent: nothing is decompressed. Raises NoAnswer."""
        with self._translated():
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
                yield chunk

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (requests.RequestException, HTTPError, http.client.HTTPException, OSError) as exc:
            timed_out = isinstance(exc, _TIMEOUTS) or time.monotonic() >= self._ends_at
            raise NoAnswer(sent=self.sent, timed_out=timed_out) from exc


class _Session(requests.Session):
    """A session that takes nothing from the environment and keeps nothing between two tenants' requests."""

    def __init__(self, line: Line):
        super().__init__()
        self.trust_env = False  # no proxy, no .netrc
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for prefix in ("https://", "http://"):
            self.mount(prefix, _Adapter(line))

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - the base class names it
        """None: even with `allow_redirects=False` requests reads a redirect's whole body to prepare the next hop."""
        return


class _Adapter(HTTPAdapter):
    def __init__(self, line: Line):
        self._line = line
        super().__init__(max_retries=0, pool_connections=2, pool_maxsize=2)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": partial(_Pool, line=self._line),
            "https": partial(_PoolTls, line=self._line),
        }


class _Connection(HTTPConnection):
    def __init__(self, *args: Any, line: Line, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._line = line
        self.response_class = partial(_Response, line=line)  # type: ignore[assignment]  # it is only called

    def _new_conn(self) -> socket.socket:
        """Connect to an address that was checked: a second look-up could answer another one."""
        self._line.sent = False
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
        may_reach = self._line.may_reach
        if may_reach and not all(may_reach(address) for address in addresses):
            raise UnsafeRedirect("a download was redirected to an address that is not public; it was not followed")
        return addresses

    def _connect_to(self, address: str) -> socket.socket:
        seconds = min(CONNECT_SECONDS, self._line.left())
        return create_connection((address, self.port), seconds, socket_options=self.socket_options)

    def send(self, data: Any) -> None:
        """Send within the deadline; a process that was frozen meanwhile sends nothing late."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self._line.left())
        self._line.sent = True
        super().send(data)


class _ConnectionTls(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _PoolTls(HTTPSConnectionPool):
    ConnectionCls = _ConnectionTls


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, line: Line, **kwargs: Any):
        super().__init__(sock, *args, **kwargs)
        self._reader = _TimedReader(self.fp.detach(), sock, line)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the head; http.client takes one that is cut for a whole one, and its body for whatever came."""
        super().begin()
        if self._reader.ended:
            raise http.client.RemoteDisconnected("the connection ended within the head of the answer")


class _TimedReader(io.RawIOBase):
    """The socket's reader, with a timeout for each read that never goes past the deadline."""

    def __init__(self, reader: io.RawIOBase, sock: socket.socket, line: Line):
        self._reader, self._sock, self._line = reader, sock, line
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(min(IDLE_SECONDS, self._line.left()))
        count = self._reader.readinto(buffer)
        self.ended = self.ended or count == 0
        return count

    def close(self) -> None:
        self._reader.close()
        super().close()
