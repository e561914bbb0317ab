"""Sends a request and reads its answer, all within one deadline."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import requests
import urllib3
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from shared.http.sockets import CONNECT_SECONDS, IDLE_SECONDS, DeadlineAdapter, RequestContext

CHUNK_BYTES = 256 * 1024
#: A URL that requests would leave unchanged. To find that out takes requests longer than everything else here.
_PLAIN_URL = re.compile(r"https?://[a-z0-9][a-z0-9.-]*(?::[1-9]\d*)?(?:/[A-Za-z0-9_-]+)+")
_TIMEOUTS = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
_LIBRARY_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


@dataclass(frozen=True, kw_only=True)
class CallDeadlines:
    """The deadlines of calls, in seconds. `call` includes the tries of a call and the second request after a merge."""

    call: float = 10.0
    pages: float = 60.0
    file: float = 60.0
    #: The slowest rate at which a file may arrive; its size at this rate is added to `file`.
    bytes_per_second: int = 128 * 1024

    def for_file(self, size: int) -> float:
        """Return the time in which a file of this size must arrive."""
        return self.file + size / self.bytes_per_second


class NoAnswer(Exception):
    """No whole answer arrived. `sent`: some of the request may have left. `timed_out`: a deadline ended it."""

    def __init__(self, cause: str, *, sent: bool, timed_out: bool):
        super().__init__(f"{'took too long' if timed_out else 'broke off'} ({cause})")
        self.sent = sent
        self.timed_out = timed_out


class HttpClient:
    """Sends requests over one thread's kept-alive connections. Deadlines nest, and the earliest one counts.

    A server that sends no byte for `idle_seconds` is given up earlier.
    """

    def __init__(
        self,
        *,
        user_agent: str,
        is_allowed: Callable[[str], bool] | None = None,
        idle_seconds: float = IDLE_SECONDS,
    ):
        self._context = RequestContext(is_allowed=is_allowed, idle_seconds=idle_seconds)
        # A session of requests would look for cookies, proxies and passwords, and prepare to follow redirects.
        self._adapter = DeadlineAdapter(self._context)
        self._headers = {"User-Agent": user_agent, "Accept": "*/*", "Connection": "keep-alive"}

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Set a deadline in `seconds` for everything inside."""
        with self.until(time.monotonic() + seconds):
            yield

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Set a deadline, a time of the monotonic clock: nothing inside is sent or waited for later."""
        outer = self._context.deadline
        self._context.deadline = min(outer, deadline)
        try:
            yield
        finally:
            self._context.deadline = outer

    @contextmanager
    def open(
        self, method: str, url: str, *, headers: Mapping[str, str], body: Any = None, form: str | bytes | None = None
    ) -> Iterator[requests.Response]:
        """Return the answer as soon as its headers have arrived. A redirect is an answer too. Raises NoAnswer.

        `body` is sent as JSON, `form` unchanged, with the content type in `headers`.
        """
        self._context.sent = False
        with self._library_errors():
            self._context.seconds_left()
            self._context.sent = True  # a new connection sets it to False until it sends
            request = _prepared(method, url, {**self._headers, **headers}, body, form)
            response = self._adapter.send(request, stream=True, timeout=(CONNECT_SECONDS, self._context.idle_seconds))
        try:
            yield response
        finally:
            response.close()

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """Return the body as it arrives, in chunks of at most 256 KiB, without decompressing it. Raises NoAnswer."""
        with self._library_errors():
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
                yield chunk

    def read(self, response: requests.Response, *, max_bytes: int) -> bytes | None:
        """Return the whole body, None when it has more than `max_bytes`. Raises NoAnswer."""
        body = bytearray()
        for chunk in self.chunks(response):
            body += chunk
            if len(body) > max_bytes:
                return None
        return bytes(body)

    @contextmanager
    def _library_errors(self) -> Iterator[None]:
        """Turn errors of the libraries into NoAnswer."""
        try:
            yield
        except _LIBRARY_ERRORS as exc:
            timed_out = isinstance(exc, _TIMEOUTS) or time.monotonic() >= self._context.deadline
            # From None, because a traceback prints the whole chain, and the libraries' messages hold URLs and headers.
            raise NoAnswer(_first_cause(exc), sent=self._context.sent, timed_out=timed_out) from None


class SessionAdapter(BaseAdapter):
    """Sends the requests of a session by an HttpClient, and reads a short answer to its end.

    With `base_url`, every request goes there, whatever the scheme and host of its URL. A longer answer is empty.
    """

    def __init__(self, http: HttpClient, *, max_bytes: int, base_url: str | None = None):
        super().__init__()
        self._http = http
        self._max_bytes = max_bytes
        self._base_url = base_url

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Send the request. A redirect is an answer too. Raises NoAnswer."""
        method, given = request.method or "POST", request.url or ""
        url = given if self._base_url is None else self._base_url + request.path_url
        with self._http.open(method, url, headers=request.headers, form=cast("str", request.body)) as response:
            body = self._http.read(response, max_bytes=self._max_bytes) or b""
        answer = complete_response(response.status_code, response.headers, body)
        answer.request = request
        return answer

    def close(self) -> None:
        """Close nothing: the connections stay open for the next session."""


def complete_response(status: int, headers: Mapping[str, str], body: bytes) -> requests.Response:
    """Make a complete response, without the target of a redirect and without cookies."""
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers)
    response.headers.pop("Location", None)
    response.encoding = "utf-8"  # otherwise requests guesses it, slowly
    response.raw = BytesIO(body)
    return response


def _prepared(
    method: str, url: str, headers: dict[str, str], body: Any, form: str | bytes | None
) -> requests.PreparedRequest:
    content = form
    if body is not None:
        content = json.dumps(body, allow_nan=False)
        headers["Content-Type"] = "application/json"
    request = requests.PreparedRequest()
    if _PLAIN_URL.fullmatch(url) is None:
        request.prepare(method=method, url=url, headers=headers, data=content)
        return request
    if content is not None:
        headers["Content-Length"] = str(len(content.encode() if isinstance(content, str) else content))
    request.method, request.url, request.headers, request.body = method, url, CaseInsensitiveDict(headers), content
    return request


def _first_cause(exc: BaseException) -> str:
    """Return the name of the first error of the chain. The errors that libraries wrap around it say less."""
    while inner := exc.__cause__ or exc.__context__:
        exc = inner
    return type(exc).__name__
