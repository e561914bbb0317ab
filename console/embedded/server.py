"""What PostgreSQL and Valkey have in common when we run them ourselves."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from console.embedded.failure import CannotStart
from console.embedded.spawn import end

if TYPE_CHECKING:
    import signal
    import subprocess
    from pathlib import Path

START_WITHIN = 60.0  # seconds, recovery after a crash included
FAILS_AFTER = 3.0  # seconds in which a start is tried again: what a killed server left may still be going


class Server(ABC):
    """One embedded server. Its URL stays the same over `kill()` and `start()`; its data too when durable."""

    name: ClassVar[str]
    setting: ClassVar[str]
    stops_on: ClassVar[signal.Signals]
    process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """How a client connects."""

    @property
    @abstractmethod
    def log(self) -> Path:
        """Where the server's own words go."""

    @abstractmethod
    def spawn(self) -> None:
        """Start the process without waiting until it answers."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether a client is served now."""

    @property
    def pid(self) -> int:
        """The main process; only while it runs."""
        if self.process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> Self:
        """Start, unless it runs, and return when clients are served."""
        began = time.monotonic()
        if not self.running:
            self.spawn()
        while not self.answers():
            elapsed = time.monotonic() - began
            if elapsed > (START_WITHIN if self.running else FAILS_AFTER):
                self.stop()
                raise CannotStart.see(f"{self.name} did not start", self.log, self.setting)
            time.sleep(0.02)
            if not self.running:
                self.spawn()
        return self

    def stop(self) -> None:
        """Stop cleanly."""
        if self.process is not None:
            end(self.process, self.stops_on, grace=15)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL); `start()` brings it back."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
