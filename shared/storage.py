"""Stores the bytes of attachments in a folder or an object store: streamed, and durable when a write returns."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from shared.errors import ConfigurationError, FileMissing, StorageFull, StorageUnavailable
from shared.process import tracing

_CLIENT_SECONDS: Final = {"timeout": "60s", "connect_timeout": "5s"}
_RETRIES: Final[Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=60)}

_URL_FORMS: Final = (
    "write file:///folder or s3://bucket/prefix?region=…, with %23 for #, %3F for ?, %40 for @ and %25 for % in names"
)
_READ_BYTES: Final = 256 * 1024
_LOCAL_PART_BYTES: Final = 2**20
_S3_PART_BYTES: Final = 5 * 2**20  # the smallest part that S3 takes
_CHECK_BYTES: Final = 2**20  # a nearly full storage has room for a few bytes, but not for a file
#: Only this process's user reads the files of a folder, whatever the umask says.
_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700

#: A mount with one mode for all files answers this to a change of a mode.
_NO_MODES: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
#: A file system that syncs no folder answers this; databases go on then, too.
_NO_FOLDER_SYNC: Final = frozenset(
    {errno.EBADF, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY}
)

#: The form of Front's ids of files. Anything else is hashed before it becomes part of a path.
_FRONT_FILE_ID: Final = re.compile(r"fil_[a-z0-9]{1,64}")
#: No space, no quota, or no room for a file of this size: the task waits for room in each case.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, HTTPStatus.INSUFFICIENT_STORAGE})
_ERROR_NUMBER: Final = re.compile(r"os error (\d+)|\b(507) ")
#: The only part of an error text that is repeated. The whole answer of an object store names keys and accounts.
_SAFE_CAUSE: Final = re.compile(r"[A-Z][\w ]+ \(os error \d+\)|\b[345]\d\d [A-Z]\w+")


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """The size and hash of the bytes that were written."""

    size: int
    sha256: str


class Storage:
    """The storage at STORAGE_URL: `file:///folder`, `s3://bucket/prefix?region=…&endpoint=…`, or `memory://` for tests.

    The URL's query or the usual environment variables hold the options of an object store. Threads may share a storage.
    """

    def __init__(self, url: str):
        self._root: Path | None = None
        folder = check_storage_url(url)
        if folder:
            self._root = _durable_folder(folder)
            self._store: ObjectStore = LocalStore(self._root)
        else:
            self._store = _object_store(url)

    @property
    def is_folder(self) -> bool:
        """Whether the files are in a folder of this machine, not in an object store."""
        return self._root is not None

    def put(self, path: str, chunks: Iterable[bytes]) -> StoredFile:
        """Write the bytes as they come, and replace a file at this path. When this returns, they survive a power cut.

        When `chunks` raises, nothing is left behind and its error is passed on. In a folder, the half-written files of
        killed writers of the same path are removed too. Raises StorageUnavailable, StorageFull.
        """
        started_at = time.time()
        hashed = _HashedChunks(chunks)
        with tracing.part("storage.put") as span:
            self._write(path, hashed)
            span.note(size=hashed.size)
        if self._root:
            _remove_half_written(self._root / path, before=started_at)
        return StoredFile(size=hashed.size, sha256=hashed.sha256.hexdigest())

    def read(self, path: str) -> Iterator[bytes]:
        """Return the bytes in chunks. Raises StorageUnavailable, also when there is no file."""
        with _storage_errors("reading a file"):
            for chunk in obstore.get(self._store, path).stream(min_chunk_size=_READ_BYTES):
                yield bytes(chunk)

    def open(self, path: str, size: int) -> StoredReader:
        """Open a file of this size for reading, at any place of it. Nothing is asked before the first read."""
        return StoredReader(self._store, path, size)

    def delete(self, *paths: str) -> None:
        """Remove files for good, and ignore missing ones. Raises StorageUnavailable."""
        with _storage_errors("deleting files"):
            for batch in [[path] for path in paths] if self._root else [list(paths)]:
                with suppress(FileNotFoundError):
                    obstore.delete(self._store, batch)
            for folder in {(self._root / path).parent for path in paths} if self._root else ():
                with suppress(FileNotFoundError):
                    sync(folder)

    def delete_tenant(self, tenant_id: int) -> int:
        """Remove all files of a tenant, half-written ones too, and return their number. Raises StorageUnavailable."""
        deleted = 0
        with _storage_errors("deleting a tenant's files"), suppress(FileNotFoundError):
            if self._root:
                return _remove_folder(self._root / str(int(tenant_id)))
            for batch in obstore.list(self._store, prefix=f"{int(tenant_id)}/"):
                obstore.delete(self._store, [entry["path"] for entry in batch])
                deleted += len(batch)
        return deleted

    def sizes(self, tenant_id: int) -> dict[str, int]:
        """Return the size of each file of a tenant, by path. Raises StorageUnavailable."""
        found: dict[str, int] = {}
        with _storage_errors("listing a tenant's files"), suppress(FileNotFoundError):
            for batch in obstore.list(self._store, prefix=f"{int(tenant_id)}/"):
                found |= {entry["path"]: entry["size"] for entry in batch}
        return found

    def has(self, path: str, *, sha256: str) -> bool:
        """Whether the file has these bytes: it is read. Raises StorageUnavailable, also when there is no file."""
        digest = hashlib.sha256()
        for chunk in self.read(path):
            digest.update(chunk)
        return digest.hexdigest() == sha256

    def check(self) -> None:
        """Write, read back and delete a file of 1 MiB. Raises StorageUnavailable, which says what does not work."""
        path, content = f"check/{uuid.uuid4().hex}", b"mailroom" * (_CHECK_BYTES // 8)
        self.put(path, [content])
        if b"".join(self.read(path)) != content:
            raise StorageUnavailable("the storage gives back other bytes than it took; check STORAGE_URL")
        self.delete(path)

    def _write(self, path: str, chunks: Iterable[bytes]) -> None:
        part = _LOCAL_PART_BYTES if self._root else _S3_PART_BYTES
        with _storage_errors("writing a file"):
            for folder in self._folders_of(path):
                _make_private(folder)  # obstore would let all read them
            obstore.put(self._store, path, iter(chunks), chunk_size=part, max_concurrency=1, use_multipart=True)
        if self._root:
            _make_durable(self._root / path, root=self._root)

    def _folders_of(self, path: str) -> list[Path]:
        """Return the folders below the root, whose mode is its owner's choice, that hold this file; outermost first."""
        if self._root is None:
            return []
        return [self._root / each for each in reversed(Path(path).parents[:-1])]


class StoredReader:
    """A stored file, open for reading as Python's files are. Between two reads it holds nothing of the storage."""

    def __init__(self, store: ObjectStore, path: str, size: int) -> None:
        self._store = store
        self._path = path
        self._size = size
        self._position = 0

    def seekable(self) -> bool:
        """Return True: any place can be read next."""
        return True

    def seek(self, position: int) -> int:
        """Read on from this place, in bytes from the start."""
        self._position = position
        return position

    def tell(self) -> int:
        """Return the place that is read next."""
        return self._position

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes, none at the end. Raises FileMissing, StorageUnavailable."""
        start, end = self._position, min(self._position + count, self._size)
        if end <= start:
            return b""
        with _storage_errors("reading a file"):
            try:
                content = bytes(obstore.get_range(self._store, self._path, start=start, end=end))
            except FileNotFoundError as exc:
                raise FileMissing("the storage has no such file") from exc
        if len(content) != end - start:
            raise StorageUnavailable("a stored file is shorter than it was when it was stored")
        self._position = end
        return content


def check_storage_url(url: str) -> Path | None:
    """Return the folder of a `file://` URL, None for another storage. Raises ConfigurationError."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigurationError(f"STORAGE_URL: not a URL; {_URL_FORMS}") from None
    if parts.scheme not in {"file", "s3", "memory"} or not url.startswith(f"{parts.scheme}:"):
        raise ConfigurationError(f"STORAGE_URL: not a kind of storage that is supported; {_URL_FORMS}")
    if parts.fragment or url.endswith("#") or "@" in parts.netloc:
        raise ConfigurationError(f"STORAGE_URL: has a # or an @; {_URL_FORMS}")
    if parts.scheme != "file":
        if parts.scheme == "s3" and not parts.netloc:
            raise ConfigurationError(f"STORAGE_URL: names no bucket; {_URL_FORMS}")
        return None
    if parts.netloc not in {"", "localhost"} or "?" in url or not parts.path.startswith("/"):
        raise ConfigurationError(f"STORAGE_URL: a folder is named by its whole path and without options; {_URL_FORMS}")
    return Path(unquote(parts.path))


def attachment_path(tenant_id: int, attachment_front_id: str) -> str:
    """Return the path at which a tenant's attachment is stored. It contains nothing that a sender wrote."""
    digest = hashlib.sha256(attachment_front_id.encode("utf-8", "surrogatepass")).hexdigest()
    name = attachment_front_id if _FRONT_FILE_ID.fullmatch(attachment_front_id) else digest
    return f"{int(tenant_id)}/{digest[:2]}/{name}"


class _HashedChunks:
    """Passes chunks on, and counts and hashes their bytes."""

    def __init__(self, chunks: Iterable[bytes]):
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            self.sha256.update(chunk)
            yield chunk


def _object_store(url: str) -> ObjectStore:
    if url.startswith("memory:"):
        return from_url(url)
    place, _, query = url.partition("?")
    pairs = (each.partition("=") for each in query.split("&") if each)
    options: Any = {unquote(name): unquote(value) for name, _, value in pairs if value}  # a + is part of a key
    client: Any = {**_CLIENT_SECONDS, "allow_http": options.pop("allow_http", "") == "true"}
    try:
        return from_url(place, config=options, client_options=client, retry_config=_RETRIES)
    except (BaseError, ValueError):  # its text repeats the options
        raise ConfigurationError(
            f"STORAGE_URL: the object store's client does not take its bucket or one of its options; {_URL_FORMS}"
        ) from None


def _durable_folder(folder: Path) -> Path:
    """Create the folder and its parents, and make each new one durable. Raises ConfigurationError."""
    try:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        for each in reversed(missing):
            _make_private(each)
        for each in missing:
            sync(each.parent)
        for each in folder.iterdir():
            if each.name.isdecimal():  # a tenant's
                _make_private(each)
    except OSError as exc:
        raise ConfigurationError(
            f"STORAGE_URL: cannot use {exc.filename or folder} ({exc.strerror}); let user {os.geteuid()} or group "
            f"{os.getegid()} read and write {folder}, or name another folder"
        ) from exc
    return folder.resolve()


def _make_private(folder: Path) -> None:
    """Create the folder unless it exists, and close it to others: an older release left folders open."""
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    _set_mode(folder, _FOLDER_MODE)


def _set_mode(path: Path, mode: int) -> None:
    """Set the mode of a file or folder of ours. Some mounts have one mode for all files, and refuse to change it."""
    found = path.stat()
    if stat.S_IMODE(found.st_mode) != mode and found.st_uid == os.geteuid():
        try:
            path.chmod(mode)
        except OSError as exc:
            if exc.errno not in _NO_MODES:
                raise


def _make_durable(file: Path, *, root: Path) -> None:
    """Make a file private, and it and the folders up to the root durable; obstore's local store does neither."""
    with _storage_errors("writing a file"):
        _set_mode(file, _FILE_MODE)
        for each in (file, *file.parents):
            sync(each)
            if each == root:
                return


def _remove_half_written(file: Path, *, before: float) -> None:
    """Remove the files that killed writers of this file left: obstore writes to `NAME#1`, `NAME#2`, …"""
    for part in file.parent.glob(f"{file.name}#*"):
        with suppress(FileNotFoundError):
            if part.stat().st_mtime < before:
                part.unlink()


def _remove_folder(folder: Path) -> int:
    """Remove the folder and all files in it, durably, and return the number of files."""
    count = sum(1 for each in folder.rglob("*") if not each.is_dir())
    shutil.rmtree(folder)
    sync(folder.parent)
    return count


def sync(path: Path) -> None:
    """Make a file or a folder durable. Raises OSError.

    Some network file systems and overlays sync no folder; there the name of a file is as durable as they keep it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in _NO_FOLDER_SYNC or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _storage_errors(operation: str) -> Iterator[None]:
    """Turn errors of the library and the system into StorageFull or StorageUnavailable."""
    try:
        yield
    except (BaseError, OSError) as exc:
        found = _SAFE_CAUSE.search(str(exc))
        cause = (isinstance(exc, OSError) and exc.strerror) or (found.group() if found else type(exc).__name__)
        if _is_full(exc):
            raise StorageFull(f"{operation} failed ({cause}); make room at STORAGE_URL") from exc
        raise StorageUnavailable(f"{operation} failed ({cause}); check the space and rights at STORAGE_URL") from exc


def _is_full(exc: Exception) -> bool:
    number = exc.errno if isinstance(exc, OSError) and exc.errno else None
    if number is None and (found := _ERROR_NUMBER.search(str(exc))):
        number = int(found[1] or found[2])
    return number in _FULL
