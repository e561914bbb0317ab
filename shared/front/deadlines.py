"""How long a call to Front may take in all, by the wall clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Seconds. A call's tries and a merge's second request are inside its ten."""

    call: float = 10.0
    pages: float = 60.0
    file: float = 60.0
    #: The slowest rate at which a file still arrives; its size adds to `file`.
    bytes_per_second: int = 128 * 1024

    def for_file(self, size: int) -> float:
        """The whole time for the bytes of a file."""
        return self.file + size / self.bytes_per_second
