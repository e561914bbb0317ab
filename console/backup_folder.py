"""The folder of a backup: a manifest, a dump of the database, and the files, each with its digest.

The manifest is written last. A folder without one is of a backup that was interrupted, and nobody restores it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.db.restoring import StoredFile
from shared.errors import MailroomError, StorageUnavailable
from shared.storage import Storage, sync

FORMAT = 1
MANIFEST, DUMP, FILE_LIST, FILES = "manifest.json", "database.dump", "files.jsonl", "files"
_READ_BYTES = 2**20
#: The form of all paths that `attachment_path` makes. Any other one may lead out of the folder.
_PATH = re.compile(r"\d+/[0-9a-f]{2}/[\w]+")


class BackupDamaged(MailroomError):
    """The folder holds no whole backup: something is missing, or has other bytes than the manifest says."""

    code = "backup_damaged"


class FolderNotEmpty(MailroomError):
    """A backup gets a folder of its own."""

    code = "folder_not_empty"


class FolderUnusable(MailroomError):
    """The folder cannot be written or read: no room, or no right."""

    code = "folder_unusable"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class DumpFacts(_Part):
    """The dump of the database: the schema in it, and the major version of the program that made it."""

    schema_name: str
    major: int
    size: int
    sha256: str


class MigrationFacts(_Part):
    """A migration that the database had."""

    name: str
    checksum: str
    applied_at: datetime


class KeyFacts(_Part):
    """A key of TOKEN_KEYS by its id, and the number of tokens that it sealed."""

    id: str
    tokens: int


class FileFacts(_Part):
    """The files: in the backup, or left where they are. `missing` could not be read when the backup was made."""

    kept: Literal["here", "in the object store"]
    number: int
    bytes: int
    missing: int
    list_sha256: str


class Manifest(_Part):
    """The contents of a backup, and all that a restore needs to know of it."""

    format: int
    version: str
    made_at: datetime
    feed_epoch: str
    migrations: tuple[MigrationFacts, ...]
    token_keys: tuple[KeyFacts, ...]
    database: DumpFacts
    files: FileFacts


@dataclass(frozen=True, kw_only=True)
class CopiedFiles:
    """The number and size of the files that were copied, and the number of those that could not be."""

    number: int
    size: int
    missing: int


class BackupFolder:
    """A folder for one backup. Its owner alone may read it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def dump(self) -> Path:
        """The path of the database's dump."""
        return self.path / DUMP

    def create(self) -> None:
        """Make the folder. Raises FolderNotEmpty, MailroomError."""
        with _named_errors(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(self.path.iterdir()):
                raise FolderNotEmpty(f"{self.path} is not empty; name a new folder for each backup")
            self.path.chmod(0o700)

    def write_list(self, files: Iterable[StoredFile]) -> int:
        """Write the list of files, and return their number."""
        number = 0
        with _named_errors(self.path), self._open(FILE_LIST) as lines:
            for file in files:
                lines.write(json.dumps(asdict(file)).encode() + b"\n")
                number += 1
        return number

    def listed(self) -> Iterator[StoredFile]:
        """Return the files of the list. Raises BackupDamaged."""
        with _named_errors(self.path), (self.path / FILE_LIST).open("rb") as lines:
            for line in lines:
                found = StoredFile(**json.loads(line))
                if not _PATH.fullmatch(found.path):
                    raise BackupDamaged(f"{self.path / FILE_LIST} names a file that is none of Mailroom's")
                yield found

    def copy_in(self, storage: Storage, advance: Callable[[int], None]) -> CopiedFiles:
        """Copy the listed files, and take those from the list that are gone or have changed.

        Raises StorageUnavailable when the storage itself does not work.
        """
        listed = list(self.listed())
        copied = [file for file in listed if self._copy(file, storage, advance)]
        (self.path / FILE_LIST).unlink()
        self.write_list(copied)
        return CopiedFiles(
            number=len(copied), size=sum(file.size for file in copied), missing=len(listed) - len(copied)
        )

    def read(self, file: StoredFile) -> Iterator[bytes]:
        """Return the bytes of a file in chunks. Raises BackupDamaged."""
        with _named_errors(self.path), (self.path / FILES / file.path).open("rb") as content:
            while chunk := content.read(_READ_BYTES):
                yield chunk

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest when all else is durable: the backup is whole from now on."""
        with _named_errors(self.path):
            folders = (each for each in (self.path / FILES).rglob("*") if each.is_dir())
            for written in (self.dump, self.path / FILE_LIST, *folders, self.path):
                sync(written)
            with self._open(MANIFEST) as file:
                file.write(manifest.model_dump_json(indent=2).encode() + b"\n")
            sync(self.path)

    def manifest(self) -> Manifest:
        """Read the manifest. Raises BackupDamaged."""
        try:
            found = Manifest.model_validate_json((self.path / MANIFEST).read_bytes())
        except FileNotFoundError:
            raise BackupDamaged(
                f"{self.path} has no {MANIFEST}: it is no backup, or one that was interrupted"
            ) from None
        except (OSError, ValidationError) as error:
            raise BackupDamaged(f"{self.path / MANIFEST} cannot be read ({type(error).__name__})") from None
        if found.format != FORMAT:
            raise BackupDamaged(f"{self.path / MANIFEST} has format {found.format}, and this release reads {FORMAT}")
        return found

    def verify(self, manifest: Manifest, advance: Callable[[int], None]) -> None:
        """Read everything and compare it with the digests. `advance` takes the files. Raises BackupDamaged."""
        self._check(DUMP, manifest.database.size, manifest.database.sha256)
        self._check(FILE_LIST, None, manifest.files.list_sha256)
        for file in self.listed() if manifest.files.kept == "here" else ():
            self._check(f"{FILES}/{file.path}", file.size, file.sha256)
            advance(1)

    def digest(self, name: str) -> tuple[int, str]:
        """Return the size and the SHA-256 of a file of the folder."""
        with _named_errors(self.path), (self.path / name).open("rb") as file:
            return (self.path / name).stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()

    def discard(self) -> None:
        """Remove everything that an interrupted backup wrote."""
        for each in self.path.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()

    def _copy(self, file: StoredFile, storage: Storage, advance: Callable[[int], None]) -> bool:
        """Copy a file, and return whether it is what its rows say."""
        target, digest = self.path / FILES / file.path, hashlib.sha256()
        with _named_errors(self.path):
            for parent in reversed(target.parents):
                if parent.is_relative_to(self.path):
                    parent.mkdir(mode=0o700, exist_ok=True)
            with self._open(f"{FILES}/{file.path}") as copy:
                for chunk in _chunks(storage, file):
                    digest.update(chunk)
                    copy.write(chunk)
            sync(target)
            advance(1)
            if digest.hexdigest() == file.sha256:
                return True
            target.unlink()
        return False

    def _check(self, name: str, size: int | None, sha256: str) -> None:
        found_size, found = self.digest(name)
        if found != sha256 or size not in {None, found_size}:
            raise BackupDamaged(f"{self.path / name} has other bytes than when the backup was made; use another backup")

    def _open(self, name: str) -> Any:
        return os.fdopen(os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _chunks(storage: Storage, file: StoredFile) -> Iterator[bytes]:
    """Return the file's bytes; they end early when it is gone or damaged."""
    try:
        yield from storage.read(file.path)
    except StorageUnavailable:
        storage.check()  # raises when it is not the file


@contextmanager
def _named_errors(folder: Path) -> Iterator[None]:
    """Turn an error of the system into one that names the file and the cause."""
    try:
        yield
    except FileNotFoundError as error:
        raise BackupDamaged(f"{error.filename or folder} is missing; use another backup") from error
    except OSError as error:
        raise FolderUnusable(
            f"cannot use {error.filename or folder} ({error.strerror}); make room, or name a folder that you may write"
        ) from error
