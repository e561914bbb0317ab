"""Files are stored on a full disk, with little memory, and in an object store."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import ShuttingDown, StorageUnavailable
from shared.storage import Storage, attachment_path
from tests.integration.front.small_s3 import SmallS3, small_s3

CONTENT = bytes(range(256)) * 4 * 8_192  # 8 MiB: two parts of S3

FULL = """
import resource, sys
from shared.errors import StorageFull
from shared.storage import Storage
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    Storage(sys.argv[1]).put("1/ab/fil_1", (bytes(2**18) for _ in range(100)))
except StorageFull as exc:
    print(exc)
"""

SIXTEEN_AT_A_TIME = """
import pathlib, sys, threading
from shared.storage import Storage
storage, sizes = Storage(sys.argv[1]), []
def store(number):
    sizes.append(storage.put(f"1/ab/fil_{number}", (bytes([number]) * 2**18 for _ in range(100))).size)
threads = [threading.Thread(target=store, args=(number,)) for number in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert sizes == [25 * 2**20] * 16, sizes
status = pathlib.Path("/proc/self/status").read_text()  # getrusage would count what the parent had before exec
print(int(status.partition("VmHWM:")[2].split()[0]) // 2**10)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")


@pytest.fixture
def s3() -> Iterator[SmallS3]:
    with small_s3() as server:
        yield server


def _printed(program: str, url: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program, url], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def _pieces(*, stops: bool = False) -> Iterator[bytes]:
    for start in range(0, len(CONTENT), 2**18):
        yield CONTENT[start : start + 2**18]
    if stops:
        raise ShuttingDown("stopping")


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    assert "File too large" in _printed(FULL, f"file://{tmp_path}")
    assert [place for place in tmp_path.rglob("*") if place.is_file()] == []


@linux
def test_sixteen_files_at_a_time_take_little_memory_in_a_folder(tmp_path: Path) -> None:
    assert int(_printed(SIXTEEN_AT_A_TIME, f"file://{tmp_path}")) < 150


@linux
def test_sixteen_files_at_a_time_take_little_memory_for_an_object_store(s3: SmallS3) -> None:
    assert int(_printed(SIXTEEN_AT_A_TIME, s3.storage_url)) < 150


def test_an_object_store_takes_a_file_in_parts(s3: SmallS3) -> None:
    storage = Storage(s3.storage_url)
    stored = storage.put("1/ab/fil_1", _pieces())
    assert stored.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert s3.objects == {"files/1/ab/fil_1": CONTENT}
    assert b"".join(storage.read("1/ab/fil_1")) == CONTENT


def test_an_object_store_is_left_without_half_a_file(s3: SmallS3) -> None:
    with pytest.raises(ShuttingDown):
        Storage(s3.storage_url).put("1/ab/fil_1", _pieces(stops=True))
    assert (s3.objects, s3.uploads) == ({}, {})


def test_an_object_store_passes_the_probe(s3: SmallS3) -> None:
    Storage(s3.storage_url).check()
    assert s3.objects == {}


def test_an_object_store_forgets_one_tenant(s3: SmallS3) -> None:
    storage = Storage(s3.storage_url)
    for tenant in (1, 10):
        storage.put(attachment_path(tenant, "fil_1"), [b"x"])
    storage.delete_tenant(1)
    assert list(s3.objects) == [f"files/{attachment_path(10, 'fil_1')}"]


def test_a_refusal_is_told_without_a_key(s3: SmallS3) -> None:
    s3.refuses = 403
    with pytest.raises(StorageUnavailable) as refused:
        Storage(s3.storage_url).check()
    assert str(refused.value) == "writing a file failed (403 Forbidden); check the space and rights at STORAGE_URL"
