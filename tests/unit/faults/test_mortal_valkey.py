"""A power cut leaves each file with the bytes that were synced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.faults.mortal_valkey import cut, durable_sizes

if TYPE_CHECKING:
    from pathlib import Path


def test_the_last_sync_of_a_file_counts() -> None:
    assert durable_sizes("1 7 10\n1 8 5\n1 7 30\n") == {(1, 7): 30, (1, 8): 5}


def test_each_file_keeps_its_synced_bytes(tmp_path: Path) -> None:
    half, whole, never = (tmp_path / name for name in ("half", "whole", "never"))
    for file in (half, whole, never):
        file.write_text("0123456789")
    sizes = {(file.stat().st_dev, file.stat().st_ino): size for file, size in ((half, 4), (whole, 10))}
    assert cut(tmp_path, sizes) == 16
    assert [file.read_text() for file in (half, whole, never)] == ["0123", "0123456789", ""]
