"""Storage in a folder and in memory: files are stored whole, made durable, and deleted without remains."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from shared.errors import ConfigurationError, ShuttingDown, StorageUnavailable
from shared.storage import Storage, StoredFile, attachment_path

CONTENT = bytes(range(256)) * 8_192  # two parts of obstore's local store


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(f"file://{tmp_path}/files" if request.param == "file" else "memory://")


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of the files and folders that were synced, in order."""
    places: list[int] = []
    fsync = os.fsync

    def record_and_sync(number: int) -> None:
        places.append(os.fstat(number).st_ino)
        fsync(number)

    monkeypatch.setattr(os, "fsync", record_and_sync)
    return places


def _pieces(*, then: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    for start in range(0, len(CONTENT), 100_000):
        yield CONTENT[start : start + 100_000]
    then()


def _stop() -> None:
    raise ShuttingDown("stopping")


def _files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_stored_file_is_counted_hashed_and_read_back(storage: Storage) -> None:
    stored = storage.put("1/ab/fil_1", _pieces())
    assert stored == StoredFile(size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    assert b"".join(storage.read("1/ab/fil_1")) == CONTENT


def test_an_empty_file_is_a_file(storage: Storage) -> None:
    assert storage.put("1/ab/fil_1", []) == StoredFile(size=0, sha256=hashlib.sha256().hexdigest())
    assert b"".join(storage.read("1/ab/fil_1")) == b""


def test_storing_again_replaces(storage: Storage) -> None:
    storage.put("1/ab/fil_1", [b"first"])
    storage.put("1/ab/fil_1", [b"second"])
    assert b"".join(storage.read("1/ab/fil_1")) == b"second"


def test_an_error_of_the_chunks_is_passed_on_and_leaves_nothing(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}")
    with pytest.raises(ShuttingDown):
        storage.put("1/ab/fil_1", _pieces(then=_stop))
    assert _files_below(tmp_path) == []


def test_a_failed_replacement_keeps_the_old_file(storage: Storage) -> None:
    storage.put("1/ab/fil_1", [b"first"])
    with pytest.raises(ShuttingDown):
        storage.put("1/ab/fil_1", _pieces(then=_stop))
    assert b"".join(storage.read("1/ab/fil_1")) == b"first"


def test_the_file_and_each_new_folder_are_synced(tmp_path: Path, synced: list[int]) -> None:
    Storage(f"file://{tmp_path}/new/files").put("1/ab/fil_1", [b"x"])
    made = ("new", "", "new/files/1/ab/fil_1", "new/files/1/ab", "new/files/1", "new/files")
    assert synced == [(tmp_path / place).stat().st_ino for place in made]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF])
def test_a_file_system_that_syncs_no_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_sync(monkeypatch, stat.S_ISDIR, number)
    storage = Storage(f"file://{tmp_path}/new/files")
    storage.put("1/ab/fil_1", [b"x"])
    storage.check()
    storage.delete("1/ab/fil_1")
    storage.put("1/ab/fil_2", [b"x"])
    assert storage.delete_tenant(1) == 1


def test_a_folder_that_is_broken_is_not_taken_for_one_that_is_never_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(f"file://{tmp_path}")
    refuse_sync(monkeypatch, stat.S_ISDIR, errno.EIO)
    with pytest.raises(StorageUnavailable, match="Input/output error"):
        storage.put("1/ab/fil_1", [b"x"])


def test_a_file_that_cannot_be_synced_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(f"file://{tmp_path}")
    refuse_sync(monkeypatch, stat.S_ISREG, errno.EINVAL)
    with pytest.raises(StorageUnavailable):
        storage.put("1/ab/fil_1", [b"x"])


def refuse_sync(monkeypatch: pytest.MonkeyPatch, concerns: Callable[[int], bool], number: int) -> None:
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if concerns(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_mount_with_one_mode_for_all_files_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "chmod", refuse)
    before = os.umask(0o277)
    try:
        Storage(f"file://{tmp_path}/files").put("1/ab/fil_1", [b"x"])
    finally:
        os.umask(before)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_only_our_own_user_reads_files_and_folders_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        Storage(f"file://{tmp_path}/new/files").put("1/ab/fil_1", _pieces(then=_check_nobody_else_reads(tmp_path)))
    finally:
        os.umask(before)
    modes = {str(path.relative_to(tmp_path)): oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*")}
    folders = dict.fromkeys(["new", "new/files", "new/files/1", "new/files/1/ab"], "0o700")
    assert modes == {**folders, "new/files/1/ab/fil_1": "0o600"}


def test_folders_of_an_older_release_are_closed(tmp_path: Path) -> None:
    (tmp_path / "1/ab").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "1", tmp_path / "1/ab"):
        folder.chmod(0o755)
    storage = Storage(f"file://{tmp_path}")
    assert [path.stat().st_mode & 0o777 for path in (tmp_path, tmp_path / "1")] == [0o755, 0o700]
    storage.put("1/ab/fil_1", [b"x"])
    assert (tmp_path / "1/ab").stat().st_mode & 0o777 == 0o700


def _check_nobody_else_reads(folder: Path) -> Callable[[], None]:
    def check() -> None:
        assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*") if path.is_dir())

    return check


def test_a_tenants_files_go_and_no_other_tenants(storage: Storage) -> None:
    for tenant in (1, 10):
        storage.put(attachment_path(tenant, "fil_1"), [b"x"])
    storage.delete_tenant(1)
    with pytest.raises(StorageUnavailable):
        list(storage.read(attachment_path(1, "fil_1")))
    assert b"".join(storage.read(attachment_path(10, "fil_1"))) == b"x"


def test_deleting_a_tenant_deletes_half_written_files(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}")
    storage.put("1/ab/fil_1", [b"x"])
    (tmp_path / "1/ab/fil_2#1").write_bytes(b"of a killed process")
    storage.delete_tenant(1)
    assert _files_below(tmp_path) == []


def test_deleting_a_missing_file_is_allowed(storage: Storage) -> None:
    storage.delete("1/ab/fil_1")
    storage.delete_tenant(1)


def test_the_check_leaves_no_file(tmp_path: Path) -> None:
    Storage(f"file://{tmp_path}").check()
    assert _files_below(tmp_path) == []


def test_the_check_fails_when_the_storage_is_gone(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}/files")
    (tmp_path / "files").rmdir()
    (tmp_path / "files").write_bytes(b"")
    with pytest.raises(StorageUnavailable, match="STORAGE_URL"):
        storage.check()


@pytest.mark.parametrize(
    "url", ["ftp://files.example", "files", "", "s3://bucket?regoin=x", "s3:///bucket", "file:///dev/null/files"]
)
def test_an_unusable_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="STORAGE_URL"):
        Storage(url)


@pytest.mark.parametrize(
    ("front_id", "path"),
    [
        ("fil_2m7c1qkw", "7/c8/fil_2m7c1qkw"),
        # Any other form than Front's becomes a hash, so that a path holds no text of a sender
        ("../../etc/passwd", None),
        ("fil_A", None),  # the same name as fil_a where the file system ignores case
        ("fil_", None),
        ("fil_1\n", None),
        ("unnamed:0", None),
        ("fil_" + "z" * 65, None),
        ("\ud800", None),
        ("CON", None),
    ],
)
def test_a_path_holds_no_text_of_a_sender(front_id: str, path: str | None) -> None:
    digest = hashlib.sha256(front_id.encode("utf-8", "surrogatepass")).hexdigest()
    assert attachment_path(7, front_id) == (path or f"7/{digest[:2]}/{digest}")


@pytest.mark.parametrize(
    ("url", "name", "value"),
    [
        ("s3://bucket?access_key_id=A+B/C==&secret_access_key=s&region=r", "access_key_id", "A+B/C=="),
        ("s3://bucket?access_key_id=A%2BB%23&secret_access_key=s&region=r", "access_key_id", "A+B#"),
        ("s3://bucket/pre+fix?region=r", "region", "r"),
    ],
)
def test_the_options_of_an_object_store_are_taken_as_written(url: str, name: str, value: str) -> None:
    store: Any = Storage(url)._store
    assert store.config[name] == value
    assert (store.prefix or "") in url


@pytest.mark.parametrize(
    "url",
    [
        "file://data/files",
        "file:data/files",
        "file:///data/a#b",
        "file:///data/a?b",
        "/data/files",
        "data",
        "s3://",
        "s3:///prefix",
        "s3://bucket/a#b",
        "s3://bucket?secret_access_key=hunter2#x",
        "s3://key:hunter2@bucket",
        "s3://bucket?nope=hunter2",
        "s3://bucket?secret_access_key=a&hunter2=b",
        "https://hunter2/files",
        "s3://[hunter2",
    ],
)
def test_a_url_that_would_be_read_otherwise_than_written_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^STORAGE_URL: ") as refused:
        Storage(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["a+b", "a#b", "a b", "a?b", "a%20b", "\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    Storage(f"file://{quote(str(tmp_path / name), safe='/+')}").put("1/ab/fil_1", [b"x"])
    assert (tmp_path / name / "1/ab/fil_1").read_bytes() == b"x"


def test_the_files_of_one_tenant_are_listed(storage: Storage) -> None:
    assert storage.sizes(1) == {}
    storage.put("1/ab/fil_1", [CONTENT])
    storage.put("1/ab/fil_2", [b"two"])
    storage.put("12/ab/fil_3", [b"three"])
    assert storage.sizes(1) == {"1/ab/fil_1": len(CONTENT), "1/ab/fil_2": 3}


def test_the_bytes_of_a_file_are_compared(storage: Storage) -> None:
    storage.put("1/ab/fil_1", [CONTENT])
    assert storage.has("1/ab/fil_1", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert not storage.has("1/ab/fil_1", sha256=hashlib.sha256(b"others").hexdigest())
    with pytest.raises(StorageUnavailable):
        storage.has("1/ab/fil_2", sha256="")
