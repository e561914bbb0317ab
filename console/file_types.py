"""Tell the type of stored files by their first bytes, for people who look at an event: a sender may claim any type."""

from __future__ import annotations

import codecs
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import filetype
import structlog

from shared.errors import MailroomError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.storage import Storage

log = structlog.get_logger(__name__)

HEAD_BYTES = 8192  # as many as the library looks at
MOST_FILES = 20  # of one event
MOST_REMEMBERED = 10_000
THREADS = 2
#: A page does not wait longer; the next one has what was found meanwhile.
WAIT_SECONDS = 0.5


def type_of(head: bytes) -> str | None:
    """Return the type that the first bytes of a file have: that of its format, of plain text, or None if unknown."""
    if head and _is_text(head) and not head.startswith((b"%PDF", b"{\\rtf")):
        return "text/plain"
    return filetype.guess_mime(head) if head else None


class FileTypes:
    """Looks into stored files, a few at a time, and remembers the type of each content. Threads may share it."""

    def __init__(self, storage: Callable[[], Storage]) -> None:
        self._storage = storage
        self._threads = ThreadPoolExecutor(THREADS, "file-type")
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Future[str | None]] = OrderedDict()

    def find(self, files: Sequence[tuple[str, str, int]]) -> Mapping[str, str | None]:
        """Return the types of files by sha256, of those that are known in half a second.

        Each file is given as sha256, path and size.
        """
        futures = {sha256: self._look(sha256, path, size) for sha256, path, size in files[:MOST_FILES]}
        wait(futures.values(), WAIT_SECONDS)
        return {
            sha256: future.result() for sha256, future in futures.items() if future.done() and not future.exception()
        }

    def _look(self, sha256: str, path: str, size: int) -> Future[str | None]:
        with self._lock:
            known = self._found.get(sha256)
            if known is None or (known.done() and known.exception()):
                known = self._found[sha256] = self._threads.submit(self._type_of, path, size)
            self._found.move_to_end(sha256)
            if len(self._found) > MOST_REMEMBERED:
                self._found.popitem(last=False)
            return known

    def _type_of(self, path: str, size: int) -> str | None:
        try:
            return type_of(self._storage().open(path, size).read(HEAD_BYTES))
        except MailroomError as exc:
            log.warning("file_type_unknown", code=exc.code, reason=str(exc))
            raise


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return all(char >= " " or char in "\t\n\r\f" for char in text)
