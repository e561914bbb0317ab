"""Sends a request and reads its answer, within a deadline by the wall clock."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from shared.http.sockets import CONNECT_SECONDS, IDLE_SECONDS, Watch, WatchedAdapter

CHUNK_BYTES = 256 * 1024
#: An address that requests would leave as it is, which takes it longer to find out than anything else here.
_PLAIN = re.compile(r"https?://[a-z0-9][a-z0-9.-]*(?::[1-9]\d*)?(?:/[A-Za-z0-9_-]+)+")
_TIMEOUTS = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
_LIBRARY_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


@dataclass(frozen=True, kw_only=True)
class CallDeadlines:
    """Seconds. A call's tries and a merge's second request are inside its ten."""

    call: float = 10.0
    pages: float = 60.0
    file: float = 60.0
    #: The slowest rate at which a file still arrives; its size adds to `file`.
    bytes_per_second: int = 128 * 1024

    def for_file(self, size: int) -> float:
        """The whole time for the bytes of a file."""
        return self.file + size / self.bytes_per_second


class NoAnswer(Exception):
    """No whole answer came. `sent`: some of the request may have left. `timed_out`: it took too long."""

    def __init__(self, cause: str, *, sent: bool, timed_out: bool):
        super().__init__(f"{'took too long' if timed_out else 'broke off'} ({cause})")
        self.sent = sent
        self.timed_out = timed_out


class Line:
    """One thread's kept-alive connections; a request inside another's deadline only has less time."""

    def __init__(self, *, user_agent: str, may_reach: Callable[[str], bool] | None = None):
        self._watch = Watch(may_reach=may_reach)
        # No session: it would look for cookies, proxies and passwords, and prepare to follow redirects.
        self._adapter = WatchedAdapter(self._watch)
        self._headers = {"User-Agent": user_agent, "Accept": "*/*", "Connection": "keep-alive"}

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Give everything inside `seconds` in all, or less when less was left before."""
        with self.until(time.monotonic() + seconds):
            yield

    @contextmanager
    def until(self, moment: float) -> Iterator[None]:
        """Have nothing inside leave or be waited for after this moment of the monotonic clock."""
        before = self._watch.ends_at
        self._watch.ends_at = min(before, moment)
        try:
            yield
        finally:
            self._watch.ends_at = before

    @contextmanager
    def open(
        self, method: str, url: str, *, headers: Mapping[str, str], body: Any = None, form: str | None = None
    ) -> Iterator[requests.Response]:
        """The answer as soon as its headers are here. Raises NoAnswer; redirects are answers like any other.

        `body` is sent as JSON, `form` as it is, by the type that `headers` name.
        """
        self._watch.sent = False
        with self._translated():
            self._watch.left()
            self._watch.sent = True  # unless a new connection proves that nothing left
            request = _prepared(method, url, {**self._headers, **headers}, body, form)
            response = self._adapter.send(request, stream=True, timeout=(CONNECT_SECONDS, IDLE_SECONDS))
        try:
            yield response
        finally:
            response.close()

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The body as it arrives, in pieces of at most 256 KiB, as sent: nothing is decompressed. Raises NoAnswer."""
        with self._translated():
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
                yield chunk

    def read(self, response: requests.Response, *, most: int) -> bytes | None:
        """The whole body, None when it is over `most` bytes. Raises NoAnswer."""
        body = bytearray()
        for chunk in self.chunks(response):
            body += chunk
            if len(body) > most:
                return None
        return bytes(body)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _LIBRARY_ERRORS as exc:
            timed_out = isinstance(exc, _TIMEOUTS) or time.monotonic() >= self._watch.ends_at
            # From None: the libraries' texts hold URLs and headers, and a traceback prints the whole chain.
            raise NoAnswer(_first_cause(exc), sent=self._watch.sent, timed_out=timed_out) from None


def _prepared(method: str, url: str, headers: dict[str, str], body: Any, form: str | None) -> requests.PreparedRequest:
    content = form
    if body is not None:
        content = json.dumps(body, allow_nan=False)
        headers["Content-Type"] = "application/json"
    request = requests.PreparedRequest()
    if _PLAIN.fullmatch(url) is None:
        request.prepare(method=method, url=url, headers=headers, data=content)
        return request
    if content is not None:
        headers["Content-Length"] = str(len(content.encode()))
    request.method, request.url, request.headers, request.body = method, url, CaseInsensitiveDict(headers), content
    return request


def _first_cause(exc: BaseException) -> str:
    """The name of the error at the bottom: what the libraries wrapped around it says less."""
    while inner := exc.__cause__ or exc.__context__:
        exc = inner
    return type(exc).__name__
