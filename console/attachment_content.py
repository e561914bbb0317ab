"""Answer with the bytes of an attachment: whole or a range of them, streamed from the storage, never shown as a page.

The bytes and the file name are a stranger's. So the answer is always a download of no type, which no browser sniffs.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol
from unicodedata import normalize
from urllib.parse import quote

from werkzeug.http import parse_range_header
from werkzeug.wrappers import Response
from werkzeug.wsgi import FileWrapper

from shared.errors import FileMissing, MailroomError
from shared.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from wsgiref.types import WSGIEnvironment

    from shared.db.reading.attachments import AttachmentFile
    from shared.storage import Storage

CHUNK_BYTES: Final = 256 * 1024
#: Requests that may ask the storage for the first bytes of a file at once. The others find threads when it hangs.
MOST_AT_ONCE: Final = 6
WAIT_SECONDS: Final = 2.0
LONGEST_NAME: Final = 150  # characters; file systems allow 255 bytes
POLICY: Final = "default-src 'none'; sandbox; frame-ancestors 'none'"
#: Characters that mean something in a path on some system.
_UNSAFE: Final = re.compile(r'[/\\:*?"<>|%\x00-\x1f\ufffd]+')
#: Windows takes these for devices, whatever follows the dot.
_DEVICES: Final = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)")

_slots = threading.BoundedSemaphore(MOST_AT_ONCE)


class UnknownAttachment(MailroomError):
    """There is no such file, or this token does not see it."""

    code = "unknown_attachment"


class AttachmentGone(MailroomError):
    """The file is deleted, for its age or from the storage."""

    code = "attachment_gone"


class AttachmentNotStored(MailroomError):
    """The file is not stored, or not yet."""

    code = "attachment_not_stored"


class DownloadsBusy(MailroomError):
    """As many files as possible are being opened; try again in a moment."""

    code = "downloads_busy"


class HasStorage(Protocol):
    """The resources of a process that reads files."""

    @property
    def storage(self) -> Storage:
        """The storage of files."""


def require_stored(attachment: AttachmentFile) -> None:
    """Raise AttachmentGone or AttachmentNotStored unless the bytes should be in the storage."""
    if attachment.state == "stored" and attachment.path is None:
        raise AttachmentGone(f"file {attachment.number} was deleted for its age, or with an address that was erased")
    if attachment.state != "stored" or attachment.path is None or attachment.size is None:
        raise AttachmentNotStored(f"file {attachment.number} is {attachment.state}; see the tasks of its event")


def content_response(resources: HasStorage, attachment: AttachmentFile, environ: WSGIEnvironment) -> Response:
    """Return the answer to a request for the bytes of an attachment: 200, 206 with a part of them, or 304.

    `environ` says which part (Range, If-Range) and what the sender has already (If-None-Match). One range is served;
    of several the whole file is, as HTTP allows. The caller has checked that the sender may read the file. The server
    must iterate over the answer piece by piece, each of CHUNK_BYTES at most.

    Raises AttachmentNotStored, AttachmentGone, DownloadsBusy, StorageUnavailable, and HTTP's error for a wrong range.
    """
    require_stored(attachment)
    path, size = attachment.path or "", attachment.size or 0
    file = FileWrapper(resources.storage.open(path, size), CHUNK_BYTES)  # type: ignore[arg-type]
    response = Response(file, content_type="application/octet-stream", direct_passthrough=True)
    response.headers.update(_headers(attachment))
    response.content_length = size
    if attachment.sha256:
        response.set_etag(attachment.sha256)
    response.make_conditional(_with_one_range(environ), accept_ranges=True, complete_length=size)
    if environ["REQUEST_METHOD"] == "GET" or environ["REQUEST_METHOD"] == "POST":
        _read_ahead(response, attachment)
    return response


def safe_filename(name: str) -> str:
    """Return the sender's name for a file as one that every system can write: no path, device or hidden character."""
    kept = " ".join(_UNSAFE.sub("_", printable(normalize("NFC", name))).split()).strip(" .")
    stem, dot, ending = kept.rpartition(".")
    if len(kept) > LONGEST_NAME:
        room = LONGEST_NAME - len(ending) - 1
        kept = f"{stem[:room]}.{ending}" if dot and room > 0 else kept[:LONGEST_NAME]
    return _DEVICES.sub(r"_\1", kept, count=1) if _DEVICES.match(kept) else kept or "file"


def disposition(name: str) -> str:
    """Return the header that makes browsers save the bytes under this name (RFC 6266, RFC 8187)."""
    safe = safe_filename(name)
    plain = normalize("NFKD", safe).encode("ascii", "ignore").decode("ascii").replace('"', "_") or "file"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(safe, safe='')}"


def _headers(attachment: AttachmentFile) -> Mapping[str, str]:
    return {
        "Content-Disposition": disposition(attachment.filename),
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def _with_one_range(environ: WSGIEnvironment) -> WSGIEnvironment:
    """Leave a Range out that HTTP lets a server ignore: several ranges, another unit, or one that cannot be read."""
    wanted = parse_range_header(environ.get("HTTP_RANGE"))
    if wanted is not None and wanted.units == "bytes" and len(wanted.ranges) == 1:
        return environ
    return {name: value for name, value in environ.items() if name != "HTTP_RANGE"}


def _read_ahead(response: Response, attachment: AttachmentFile) -> None:
    """Read the first piece now, so that a missing file is an error of its own and no answer that breaks off."""
    pieces: Iterator[bytes] = iter(response.response)  # type: ignore[arg-type]
    with _slot():
        try:
            first = next(pieces, b"")
        except FileMissing as exc:
            raise AttachmentGone(f"the storage no longer has file {attachment.number}") from exc
    response.response = chain([first], pieces)


@contextmanager
def _slot() -> Iterator[None]:
    if not _slots.acquire(timeout=WAIT_SECONDS):
        raise DownloadsBusy("the storage is slow, and many wait for it; try again in a few seconds")
    try:
        yield
    finally:
        _slots.release()
