"""Downloads a file in chunks, up to a size and a deadline. A redirect to another server gets no token."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import requests

from shared.errors import (
    AttachmentMissing,
    AttachmentTooLarge,
    DownloadIncomplete,
    FrontUnavailable,
    MailroomError,
    ShuttingDown,
    UnsafeRedirect,
)
from shared.front.answers import DOWNLOAD, Answer
from shared.front.envelope import front_id
from shared.front.tenant_requests import Exchange, with_retries
from shared.http.destinations import external_url
from shared.http.transport import CallDeadlines, HttpClient, NoAnswer

MAX_REDIRECTS: Final = 2
_REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file that is being downloaded. Its `chunks`, of at most 256 KiB, are read once, inside the `with`."""

    length: int | None
    content_type: str
    chunks: Iterator[bytes]


@dataclass(frozen=True, kw_only=True)
class _Opened:
    response: requests.Response
    http: HttpClient
    url: str
    is_front: bool


class Downloads:
    """Opens the files of one tenant."""

    def __init__(self, exchange: Exchange, *, file_http: HttpClient, deadlines: CallDeadlines, stop: threading.Event):
        self._exchange = exchange
        self._file_http = file_http
        self._deadlines = deadlines
        self._stop = stop

    @contextmanager
    def open(self, attachment_id: str, *, max_bytes: int) -> Iterator[Download]:
        """Return the file when its headers have arrived. Raises AttachmentTooLarge as soon as the size is known."""
        path = DOWNLOAD.path.format(id=front_id(attachment_id))
        with ExitStack() as stack:
            call = self._deadlines.call
            with self._exchange.http.within(call), self._file_http.within(call):
                opened = with_retries(lambda: self._open_answer(stack, path), stop=self._stop)
            length = opened.response.raw.length_remaining
            if length is not None and length > max_bytes:
                raise _too_large(max_bytes)
            stack.enter_context(opened.http.within(self._deadlines.for_file(max_bytes if length is None else length)))
            yield Download(
                length=length,
                content_type=opened.response.headers.get("content-type", "application/octet-stream"),
                chunks=self._chunks(opened, max_bytes),
            )

    def _open_answer(self, stack: ExitStack, path: str) -> _Opened:
        """Open the answer with the file, which `stack` will close. All other answers are closed here."""
        with ExitStack() as attempt:
            try:
                opened = self._ask_front(attempt, path)
                for _ in range(MAX_REDIRECTS):
                    if opened.response.status_code not in _REDIRECT_STATUSES:
                        break
                    opened = self._follow(attempt, opened)
                self._check_status(opened)
            except NoAnswer as exc:
                raise FrontUnavailable(f"{DOWNLOAD} {exc}; it is tried again later") from None
            stack.enter_context(attempt.pop_all())
        return opened

    def _ask_front(self, stack: ExitStack, path: str) -> _Opened:
        response = stack.enter_context(self._exchange.open(DOWNLOAD, path))
        return _Opened(response=response, http=self._exchange.http, url=self._exchange.api.url + path, is_front=True)

    def _follow(self, stack: ExitStack, opened: _Opened) -> _Opened:
        """Follow a redirect: to Front with the token, to another server without it, and then never with it again."""
        link = opened.response.headers.get("location", "")
        path = self._exchange.api.path_of(link, base_url=opened.url) if opened.is_front else None
        if path is not None:
            return self._ask_front(stack, path)
        url = external_url(link, base_url=opened.url)
        response = stack.enter_context(self._file_http.open("GET", url, headers={"Accept-Encoding": "identity"}))
        return _Opened(response=response, http=self._file_http, url=url, is_front=False)

    def _check_status(self, opened: _Opened) -> None:
        status = opened.response.status_code
        if status in _REDIRECT_STATUSES:
            raise UnsafeRedirect(
                f"{DOWNLOAD} was redirected more than {MAX_REDIRECTS} times; it was not followed further"
            )
        if opened.is_front:
            self._exchange.raise_for_status(DOWNLOAD, Answer(status=status, headers=opened.response.headers))
        elif status == 404:
            raise AttachmentMissing("the place Front keeps the file answered 404; it may lag behind its event")
        if status != 200:
            raise FrontUnavailable(f"{DOWNLOAD} ended in an answer {status} instead of a file; it is tried again later")

    def _chunks(self, opened: _Opened, max_bytes: int) -> Iterator[bytes]:
        received = 0
        try:
            for chunk in opened.http.chunks(opened.response):
                if self._stop.is_set():
                    raise ShuttingDown("this worker is stopping; the file is downloaded again")
                received += len(chunk)
                if received > max_bytes:
                    raise _too_large(max_bytes)
                yield chunk
        except NoAnswer as exc:
            raise _broken_off(exc) from None


def _too_large(max_bytes: int) -> AttachmentTooLarge:
    return AttachmentTooLarge(f"the file is over {max_bytes} bytes; raise MAX_ATTACHMENT_BYTES to take it")


def _broken_off(exc: NoAnswer) -> MailroomError:
    if exc.timed_out:
        return FrontUnavailable(f"{DOWNLOAD} {exc} in the middle of the file; it is tried again later")
    return DownloadIncomplete(f"{DOWNLOAD} {exc} before the end of the file; it is tried again later")
