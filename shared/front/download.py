"""Downloads a file as it comes: capped, within a deadline, and followed elsewhere only without the token."""

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
from shared.front.exchange import Exchange, patiently
from shared.http.destinations import foreign_url
from shared.http.transport import CallDeadlines, Line, NoAnswer

MOST_HOPS: Final = 2
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file on its way. `chunks` are to be read once, inside the `with`; each is at most 256 KiB."""

    length: int | None
    content_type: str
    chunks: Iterator[bytes]


@dataclass(frozen=True, kw_only=True)
class _Opened:
    response: requests.Response
    line: Line
    url: str
    is_fronts: bool


class Downloads:
    """Opens files of one tenant."""

    def __init__(self, exchange: Exchange, *, elsewhere: Line, deadlines: CallDeadlines, stop: threading.Event):
        self._exchange = exchange
        self._elsewhere = elsewhere
        self._deadlines = deadlines
        self._stop = stop

    @contextmanager
    def open(self, attachment_id: str, *, max_bytes: int) -> Iterator[Download]:
        """The file, its headers read. Raises AttachmentTooLarge as soon as the size is known."""
        path = DOWNLOAD.path.format(id=front_id(attachment_id))
        with ExitStack() as stack:
            call = self._deadlines.call
            with self._exchange.line.within(call), self._elsewhere.within(call):
                opened = patiently(lambda: self._opened(stack, path), stop=self._stop)
            length = opened.response.raw.length_remaining
            if length is not None and length > max_bytes:
                raise _too_large(max_bytes)
            stack.enter_context(opened.line.within(self._deadlines.for_file(max_bytes if length is None else length)))
            yield Download(
                length=length,
                content_type=opened.response.headers.get("content-type", "application/octet-stream"),
                chunks=self._chunks(opened, max_bytes),
            )

    def _opened(self, stack: ExitStack, path: str) -> _Opened:
        """The answer that carries the file; `stack` closes it. One that is no use is closed here."""
        with ExitStack() as trial:
            try:
                opened = self._ask_front(trial, path)
                for _ in range(MOST_HOPS):
                    if opened.response.status_code not in _REDIRECTS:
                        break
                    opened = self._hop(trial, opened)
                self._refuse(opened)
            except NoAnswer as exc:
                raise FrontUnavailable(f"{DOWNLOAD} {exc}; it is tried again later") from None
            stack.enter_context(trial.pop_all())
        return opened

    def _ask_front(self, stack: ExitStack, path: str) -> _Opened:
        response = stack.enter_context(self._exchange.open(DOWNLOAD, path))
        return _Opened(response=response, line=self._exchange.line, url=self._exchange.api.url + path, is_fronts=True)

    def _hop(self, stack: ExitStack, opened: _Opened) -> _Opened:
        """The next answer: of Front with the token, of anybody else without, and then never back with it."""
        link = opened.response.headers.get("location", "")
        path = self._exchange.api.own_path(link, seen_at=opened.url) if opened.is_fronts else None
        if path is not None:
            return self._ask_front(stack, path)
        url = foreign_url(link, seen_at=opened.url)
        response = stack.enter_context(self._elsewhere.open("GET", url, headers={"Accept-Encoding": "identity"}))
        return _Opened(response=response, line=self._elsewhere, url=url, is_fronts=False)

    def _refuse(self, opened: _Opened) -> None:
        status = opened.response.status_code
        if status in _REDIRECTS:
            raise UnsafeRedirect(f"{DOWNLOAD} was redirected more than {MOST_HOPS} times; it was not followed further")
        if opened.is_fronts:
            self._exchange.refuse(DOWNLOAD, Answer(status=status, headers=opened.response.headers))
        elif status == 404:
            raise AttachmentMissing("the place Front keeps the file answered 404; it may lag behind its event")
        if status != 200:
            raise FrontUnavailable(f"{DOWNLOAD} ended in an answer {status} instead of a file; it is tried again later")

    def _chunks(self, opened: _Opened, max_bytes: int) -> Iterator[bytes]:
        received = 0
        try:
            for chunk in opened.line.chunks(opened.response):
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
