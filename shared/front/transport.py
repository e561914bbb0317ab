"""Sends a request and reads its answer, within a deadline by the wall clock."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3

from shared.front.sockets import CONNECT_SECONDS, IDLE_SECONDS, Watch, WatchedAdapter

CHUNK_BYTES = 256 * 1024
_TIMEOUTS = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
_LIBRARY_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


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
        self._session = _Session(self._watch)
        self._session.headers["User-Agent"] = user_agent

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

        `body` is sent as JSON, `form` as it is.
        """
        self._watch.sent = False
        with self._translated():
            self._watch.left()
            self._watch.sent = True  # unless a new connection proves that nothing left
            response = self._session.request(
                method,
                url,
                headers=dict(headers),
                json=body,
                data=form,
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


class _Session(requests.Session):
    """A session that takes nothing from the environment and keeps nothing between two tenants' requests."""

    def __init__(self, watch: Watch):
        super().__init__()
        self.trust_env = False  # no proxy, no .netrc
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for prefix in ("https://", "http://"):
            self.mount(prefix, WatchedAdapter(watch))

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - the base class names it
        """None: even with `allow_redirects=False` requests reads a redirect's whole body to prepare the next hop."""
        return


def _first_cause(exc: BaseException) -> str:
    """The name of the error at the bottom: what the libraries wrapped around it says less."""
    while inner := exc.__cause__ or exc.__context__:
        exc = inner
    return type(exc).__name__
