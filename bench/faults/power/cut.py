"""Takes from a dead server's files what never reached the disk, as a power cut would."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Sizes = Mapping[tuple[int, int], int]


def durable_sizes(record: str) -> Sizes:
    """The bytes of each file (device, inode) that are known to be on the disk, by the notes of `watched_fsync`."""
    notes = (tuple(map(int, line.split())) for line in record.splitlines())
    return {(device, inode): size for device, inode, size in notes}


def cut(folder: Path, durable: Sizes) -> int:
    """Shorten every file of the folder to what is on the disk; the bytes that are gone.

    Names are left as they are: nothing is made or renamed there but at the server's start and when it rewrites its
    log, which takes 64 MB.
    """
    gone = 0
    for file in sorted(folder.iterdir()):
        found = file.stat()
        kept = min(found.st_size, durable.get((found.st_dev, found.st_ino), 0))
        os.truncate(file, kept)
        gone += found.st_size - kept
    return gone
