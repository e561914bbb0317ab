"""Keeps attachments' bytes: in a folder or an object store, streamed, and durable before anybody says so."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from shared.errors import ConfigurationError, StorageFull, StorageUnavailable

_OWN_NAME: Final = re.compile(r"fil_[a-z0-9]{1,64}")
_READ_BYTES: Final = 256 * 1024
_LOCAL_PART_BYTES: Final = 2**20
_CHECK_BYTES: Final = 2**20  # a few bytes find room where no file does
_PART_BYTES: Final = 5 * 2**20  # the least S3 takes
_CLIENT_SECONDS: Final = {"timeout": "60s", "connect_timeout": "5s"}
_RETRIES: Final[Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=60)}
#: No space, no quota, or no file this large: the same to whoever waits for room.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, HTTPStatus.INSUFFICIENT_STORAGE})
_NUMBER: Final = re.compile(r"os error (\d+)|\b(507) ")
#: What a cause may say: an object store's whole answer names keys and accounts.
_CAUSE: Final = re.compile(r"[A-Z][\w ]+ \(os error \d+\)|\b[345]\d\d [A-Z]\w+")


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """What was written, counted and hashed on its way."""

    size: int
    sha256: str


class Storage:
    """The place of STORAGE_URL: `file:///folder`, `s3://bucket/prefix?region=…&endpoint=…`, or `memory://` for tests.

    Options of an object store stand in the URL's query or in its usual environment variables. May be shared by threads.
    """

    def __init__(self, url: str):
        self._root: Path | None = None
        if url.startswith("file://"):
            self._root = _made(Path(unquote(urlsplit(url).path)))
            self._store: ObjectStore = LocalStore(self._root)
        else:
            self._store = _object_store(url)

    def put(self, path: str, chunks: Iterable[bytes]) -> StoredFile:
        """Write the bytes as they come; what was there is replaced. When this returns they survive a power cut.

        When `chunks` raises, nothing is left behind and its error is passed on; what killed writers of the same path
        left goes too, in a folder. Raises StorageUnavailable, StorageFull where there is no room.
        """
        began = time.time()
        counted = _Counted(chunks)
        part = _LOCAL_PART_BYTES if self._root else _PART_BYTES
        with _translated("writing a file"):
            obstore.put(self._store, path, iter(counted), chunk_size=part, max_concurrency=1, use_multipart=True)
        if self._root:
            _sync(self._root / path, below=self._root)
            _remove_halves(self._root / path, before=began)
        return StoredFile(size=counted.size, sha256=counted.hash.hexdigest())

    def read(self, path: str) -> Iterator[bytes]:
        """The bytes, in pieces. Raises StorageUnavailable, also when nothing is there."""
        with _translated("reading a file"):
            for chunk in obstore.get(self._store, path).stream(min_chunk_size=_READ_BYTES):
                yield bytes(chunk)

    def delete(self, *paths: str) -> None:
        """Remove files for good; those that are not there are fine. Raises StorageUnavailable."""
        with _translated("deleting files"):
            for some in [[path] for path in paths] if self._root else [list(paths)]:
                with suppress(FileNotFoundError):
                    obstore.delete(self._store, some)
            for folder in {(self._root / path).parent for path in paths} if self._root else ():
                with suppress(FileNotFoundError):
                    _fsync(folder)

    def delete_tenant(self, tenant_id: int) -> int:
        """Remove everything of a tenant, half-written files of killed processes too; how many files.

        Raises StorageUnavailable.
        """
        deleted = 0
        with _translated("deleting a tenant's files"), suppress(FileNotFoundError):
            if self._root:
                return _remove_folder(self._root / str(int(tenant_id)))
            for batch in obstore.list(self._store, prefix=f"{int(tenant_id)}/"):
                obstore.delete(self._store, [entry["path"] for entry in batch])
                deleted += len(batch)
        return deleted

    def check(self) -> None:
        """Write, read back and delete a file of a MiB. Raises StorageUnavailable with what does not work."""
        path, content = f"check/{uuid.uuid4().hex}", b"mailroom" * (_CHECK_BYTES // 8)
        self.put(path, [content])
        if b"".join(self.read(path)) != content:
            raise StorageUnavailable("the storage gives back other bytes than it took; check STORAGE_URL")
        self.delete(path)


def attachment_path(tenant_id: int, attachment_front_id: str) -> str:
    """Where a tenant's attachment lies: a path of ours, in which no word of a sender's appears."""
    digest = hashlib.sha256(attachment_front_id.encode("utf-8", "surrogatepass")).hexdigest()
    name = attachment_front_id if _OWN_NAME.fullmatch(attachment_front_id) else digest
    return f"{int(tenant_id)}/{digest[:2]}/{name}"


class _Counted:
    """Passes chunks on, and knows afterwards how many bytes they were and their hash."""

    def __init__(self, chunks: Iterable[bytes]):
        self.size = 0
        self.hash = hashlib.sha256()
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            self.hash.update(chunk)
            yield chunk


def _object_store(url: str) -> ObjectStore:
    if url.startswith("memory:"):
        return from_url(url)
    options: Any = dict(parse_qsl(urlsplit(url).query))
    client: Any = {**_CLIENT_SECONDS, "allow_http": options.pop("allow_http", "") == "true"}
    try:
        return from_url(url.partition("?")[0], config=options, client_options=client, retry_config=_RETRIES)
    except (BaseError, ValueError) as exc:
        raise ConfigurationError(f"STORAGE_URL: {str(exc).splitlines()[0]}") from exc


def _made(folder: Path) -> Path:
    """The folder, with every folder above it that had to be made written down in its own parent."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in missing:
            _fsync(place.parent)
    except OSError as exc:
        raise ConfigurationError(f"STORAGE_URL: cannot use {folder}: {exc.strerror}") from exc
    return folder.resolve()


def _sync(file: Path, *, below: Path) -> None:
    """Make a file and the folders it may have brought with it durable; obstore's local store leaves that to us."""
    with _translated("writing a file"):
        for place in (file, *file.parents):
            _fsync(place)
            if place == below:
                return


def _remove_halves(file: Path, *, before: float) -> None:
    """Remove what earlier writers of the file began and never ended: obstore writes to `NAME#1`, `NAME#2`, …"""
    for half in file.parent.glob(f"{file.name}#*"):
        with suppress(FileNotFoundError):
            if half.stat().st_mtime < before:
                half.unlink()


def _remove_folder(folder: Path) -> int:
    """Remove it with all files in it, also for a power cut; how many files there were."""
    count = sum(1 for place in folder.rglob("*") if not place.is_dir())
    shutil.rmtree(folder)
    _fsync(folder.parent)
    return count


def _fsync(place: Path) -> None:
    number = os.open(place, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as exc:
        found = _CAUSE.search(str(exc))
        cause = (isinstance(exc, OSError) and exc.strerror) or (found.group() if found else type(exc).__name__)
        if _means_full(exc):
            raise StorageFull(f"{what} failed ({cause}); make room at STORAGE_URL") from exc
        raise StorageUnavailable(f"{what} failed ({cause}); check the space and rights at STORAGE_URL") from exc


def _means_full(exc: Exception) -> bool:
    number = exc.errno if isinstance(exc, OSError) and exc.errno else None
    if number is None and (found := _NUMBER.search(str(exc))):
        number = int(found[1] or found[2])
    return number in _FULL
