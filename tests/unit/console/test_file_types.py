"""The type of a file is told by its first bytes, each content once, and a page does not wait for a slow storage."""

from __future__ import annotations

import io
import threading
import zipfile
from dataclasses import dataclass, field

import pytest

from console import file_types
from console.file_types import HEAD_BYTES, FileTypes, type_of
from shared.errors import FileMissing

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj"


def zipped(*names: str) -> bytes:
    """Return a zip archive with these files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return content.getvalue()


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (PDF, "application/pdf"),
        (b"%PDF-1.4\n1 0 obj", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"),
        (zipped("a.txt"), "application/zip"),
        (b"MZ\x90\x00\x03\x00\x00\x00\x04", "application/x-msdownload"),
        (b"<!DOCTYPE html><script>", "text/plain"),
        ("BMW is a car, und schön".encode(), "text/plain"),
        ("é".encode()[:1] * 0 + b"cut \xc3", "text/plain"),
        (b"\x00" * 300, None),
        (b"", None),
    ],
)
def test_a_type_is_told_by_the_first_bytes(head: bytes, found: str | None) -> None:
    assert type_of(head) == found


@dataclass
class Files:
    """A storage of these files. Reading waits until `open_gate` is set."""

    content: dict[str, bytes]
    reads: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def open(self, path: str, size: int) -> Reader:
        return Reader(self, path)


@dataclass
class Reader:
    files: Files
    path: str

    def read(self, count: int) -> bytes:
        assert count == HEAD_BYTES
        assert self.files.gate.wait(30)
        self.files.reads.append(self.path)
        if self.path not in self.files.content:
            raise FileMissing("gone")
        return self.files.content[self.path]


def types_of(files: Files) -> FileTypes:
    return FileTypes(lambda: files)  # type: ignore[arg-type, return-value]


def test_each_content_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_types, "WAIT_SECONDS", 30)
    files = Files({"a": PDF, "b": b"text"})
    files.gate.set()
    types = types_of(files)
    for _ in range(3):
        assert types.find([("1", "a", 9), ("2", "b", 4)]) == {"1": "application/pdf", "2": "text/plain"}
    assert sorted(files.reads) == ["a", "b"]


def test_a_page_does_not_wait_for_a_slow_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_types, "WAIT_SECONDS", 0.01)
    files = Files({"a": PDF})
    types = types_of(files)
    assert types.find([("1", "a", 9)]) == {}
    files.gate.set()
    monkeypatch.setattr(file_types, "WAIT_SECONDS", 30)
    assert types.find([("1", "a", 9)]) == {"1": "application/pdf"}


def test_a_file_that_cannot_be_read_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_types, "WAIT_SECONDS", 30)
    files = Files({})
    files.gate.set()
    types = types_of(files)
    assert types.find([("1", "a", 9)]) == {}
    files.content["a"] = PDF
    assert types.find([("1", "a", 9)]) == {"1": "application/pdf"}


def test_few_files_of_many_are_read_and_few_types_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_types, "WAIT_SECONDS", 30)
    monkeypatch.setattr(file_types, "MOST_REMEMBERED", 5)
    files = Files({str(number): b"text" for number in range(100)})
    files.gate.set()
    types = types_of(files)
    many = [(str(number), str(number), 4) for number in range(100)]
    assert len(types.find(many)) == len(files.reads) == file_types.MOST_FILES
    assert len(types._found) == 5
