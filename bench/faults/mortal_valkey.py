"""A Valkey that can lose its power."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from bench.faults.power import watched_fsync
from bench.faults.power.cut import cut, durable_sizes
from console.embedded import Valkey
from console.embedded.binaries import valkey_server

if TYPE_CHECKING:
    from pathlib import Path


class MortalValkey(Valkey):
    """A Valkey of our own whose syncs are watched."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._record = folder.resolve() / "durable"
        super().__init__(folder, program=self._watched(folder.resolve() / "watched-valkey"))

    def lose_power(self) -> int:
        """End it with SIGKILL and cut its log back to the last sync; the bytes that are gone.

        `start()` brings it back with what was on the disk.
        """
        self.kill()
        return cut(self.folder / "appendonlydir", durable_sizes(self._record.read_text()))

    def _watched(self, program: Path) -> Path:
        command = [sys.executable, "-I", "-S", watched_fsync.__file__, str(self._record), str(valkey_server())]
        program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        program.chmod(0o700)
        return program
