"""One command of the Procfile as a running process."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING, Protocol

from console.embedded.spawn import spawn

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Runnable(Protocol):
    """Something that has to run: a program or a server."""

    process: subprocess.Popen[bytes] | None

    @property
    def name(self) -> str:
        """What people call it."""

    def spawn(self) -> None:
        """Start the process; return at once."""


class Program:
    """A command as the Procfile has it; its output is for us to show."""

    def __init__(self, name: str, command: str, *, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._environment = environment
        self._folder = folder

    def spawn(self) -> None:
        self.process = spawn(
            # As platforms do it: ${WORKER_THREADS:-16} is for the shell to fill in.
            ["/bin/sh", "-c", f"exec {self._command}"],
            environment=self._environment,
            output=subprocess.PIPE,
            # On SIGTERM a Celery worker lingers whose broker went in the same moment.
            on_our_death=signal.SIGKILL,
            folder=self._folder,
        )
