"""A Valkey that can lose its power: the bytes that have not reached the disk are taken away."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from bench.faults import watched_fsync
from console.up.embedded import Valkey
from console.up.embedded.server import valkey_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Sizes = Mapping[tuple[int, int], int]


class MortalValkey(Valkey):
    """A Valkey whose syncs are watched."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._record = folder.resolve() / "durable"
        super().__init__(folder, program=self._watched(folder.resolve() / "watched-valkey"))

    def lose_power(self) -> int:
        """SIGKILL it and cut its log back to the last sync; return the number of bytes that are gone.

        `start()` brings it back with the bytes on the disk.
        """
        self.kill()
        return cut(self.folder / "appendonlydir", durable_sizes(self._record.read_text()))

    def _watched(self, program: Path) -> Path:
        command = [sys.executable, "-I", "-S", watched_fsync.__file__, str(self._record), str(valkey_server())]
        program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        program.chmod(0o700)
        return program


def durable_sizes(record: str) -> Sizes:
    """Return the bytes on the disk of each file (device, inode), from the record of `watched_fsync`."""
    notes = (tuple(map(int, line.split())) for line in record.splitlines())
    return {(device, inode): size for device, inode, size in notes}


def cut(folder: Path, durable: Sizes) -> int:
    """Shorten every file of the folder to its bytes on the disk; return the number of bytes that are gone.

    File names stay: the server creates and renames files only at its start and when it rewrites a log of 64 MB.
    """
    gone = 0
    for file in sorted(folder.iterdir()):
        found = file.stat()
        kept = min(found.st_size, durable.get((found.st_dev, found.st_ino), 0))
        os.truncate(file, kept)
        gone += found.st_size - kept
    return gone
