"""Downloads a file in chunks, up to a size and a deadline. A redirect to another server gets no token.

A file counts as whole only if the answer frames it, by a length or in chunks, and if it has the size that its message
announces. We ask for no compression. A server that compresses all the same is understood if it uses gzip or deflate.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import requests

from shared.errors import (
    AttachmentMissing,
    AttachmentTooLarge,
    DownloadIncomplete,
    FrontRejected,
    FrontUnavailable,
    MailroomError,
    ShuttingDown,
    SizeMismatch,
    UnsafeRedirect,
)
from shared.front.answers import DOWNLOAD, Answer
from shared.front.envelope import front_id
from shared.front.tenant_requests import Exchange, with_retries
from shared.http.destinations import external_url, location
from shared.http.transport import CHUNK_BYTES, CallDeadlines, HttpClient, NoAnswer

MAX_REDIRECTS: Final = 2
_REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
#: Of zlib: gzip or zlib, told apart by their first bytes.
_EITHER_FORMAT: Final = zlib.MAX_WBITS | 32
_INFLATED: Final = frozenset({"gzip", "x-gzip", "deflate"})
#: A name of an encoding that may be repeated in a message.
_PLAIN_NAME: Final = re.compile(r"[a-z0-9_-]{1,20}")


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file that is being downloaded. Its `chunks`, of at most 256 KiB, are read once, inside the `with`.

    `length`: the number of bytes that come, None when the answer does not tell.
    """

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
    def open(self, attachment_id: str, *, max_bytes: int, announced: int | None = None) -> Iterator[Download]:
        """Return the file when its headers have arrived.

        `announced`: the size that the message names; another one is no whole file. Raises AttachmentTooLarge,
        SizeMismatch and DownloadIncomplete, here or while the chunks are read: as soon as it is known.
        """
        path = DOWNLOAD.path.format(id=front_id(attachment_id))
        with ExitStack() as stack:
            call = self._deadlines.call
            with self._exchange.http.within(call), self._file_http.within(call):
                opened = with_retries(lambda: self._open_answer(stack, path), stop=self._stop)
            raw = opened.response.raw
            if raw.length_remaining is None and not raw.chunked:
                raise DownloadIncomplete(
                    f"{DOWNLOAD} gives the file without its length, so a broken connection would look like its end; "
                    "it is tried again later"
                )
            wire_length, is_compressed = raw.length_remaining, _is_compressed(opened.response)
            length = None if is_compressed else wire_length
            _check_size(length, max_bytes, announced)
            seconds = self._deadlines.for_file(max_bytes if wire_length is None else wire_length)
            stack.enter_context(opened.http.within(seconds))
            chunks = self._chunks(opened, max_bytes)
            yield Download(
                length=length,
                content_type=opened.response.headers.get("content-type", "application/octet-stream"),
                chunks=_checked(_inflated(chunks) if is_compressed else chunks, max_bytes, announced),
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
        link = location(opened.response.headers.get("location", ""))
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
        """Yield the bytes as they come, compressed or not."""
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


def _is_compressed(response: requests.Response) -> bool:
    """Whether the file is to be inflated. Raises FrontRejected when it is encoded in a way that nobody asked for."""
    names = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
    encodings = [name for name in names if name not in {"", "identity"}]
    if not encodings:
        return False
    if len(encodings) == 1 and encodings[0] in _INFLATED:
        return True
    shown = " then ".join(name if _PLAIN_NAME.fullmatch(name) else "something" for name in encodings[:3])
    raise FrontRejected(
        f"{DOWNLOAD} gives the file in an encoding that was not asked for ({shown}) and cannot be undone; "
        "retry the task when the server sends it plain, as gzip or as deflate"
    )


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes decompressed, in pieces of at most 256 KiB. Raises DownloadIncomplete for broken data."""
    inflater = zlib.decompressobj(_EITHER_FORMAT)
    try:
        for chunk in chunks:
            left = chunk
            while left:
                if inflater.eof:  # the file goes on with another member
                    inflater = zlib.decompressobj(_EITHER_FORMAT)
                yield inflater.decompress(left, CHUNK_BYTES)
                left = inflater.unconsumed_tail or inflater.unused_data
        yield inflater.flush()
    except zlib.error:
        raise DownloadIncomplete(f"{DOWNLOAD} gives a broken compressed file; it is tried again later") from None
    if not inflater.eof:
        raise DownloadIncomplete(f"{DOWNLOAD} ends within the compressed file; it is tried again later")


def _checked(chunks: Iterable[bytes], max_bytes: int, announced: int | None) -> Iterator[bytes]:
    """Pass the file's bytes on. Raises AttachmentTooLarge when there are too many, SizeMismatch at a wrong end."""
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        if chunk:
            yield chunk
    _check_size(received, max_bytes, announced)


def _check_size(size: int | None, max_bytes: int, announced: int | None) -> None:
    if size is not None and size > max_bytes:
        raise _too_large(max_bytes)
    if size is not None and announced is not None and size != announced:
        raise SizeMismatch(
            f"{DOWNLOAD} gives {size} bytes, and the message announces {announced}; it is tried again later; "
            "`mailroom task retry --accept-size` takes the file as it comes"
        )


def _too_large(max_bytes: int) -> AttachmentTooLarge:
    return AttachmentTooLarge(f"the file is over {max_bytes} bytes; raise MAX_ATTACHMENT_BYTES to take it")


def _broken_off(exc: NoAnswer) -> MailroomError:
    if exc.timed_out:
        return FrontUnavailable(f"{DOWNLOAD} {exc} in the middle of the file; it is tried again later")
    return DownloadIncomplete(f"{DOWNLOAD} {exc} before the end of the file; it is tried again later")
