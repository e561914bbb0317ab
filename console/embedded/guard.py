"""A process that outlives a killed `mailroom up` by a moment, to end what that one had started.

The kernel's death signal reaches direct children on Linux only; this reaches their children and macOS too.
It is run as a file of its own, so that it starts without loading anything of ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import signal


class Guard:
    """Tell it which process groups run; when we end without `__exit__`, it signals them."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # on the end of its input it would signal
        self._process.communicate()

    def watch(self, group: int, number: signal.Signals) -> None:
        """Signal this group when we are gone."""
        self._tell(f"{group} {number.value}")

    def forget(self, group: int) -> None:
        """The group has ended."""
        self._tell(f"{group} 0")

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):  # without a guard things are no worse than without this class
            print(line, file=self._process.stdin, flush=True)


def main() -> None:
    """Keep the list that comes in; when the sender is gone, work it off."""
    groups: dict[int, int] = {}
    for line in sys.stdin:
        group, number = map(int, line.split())
        groups.pop(group, None)
        if number:
            groups[group] = number
    for group, number in reversed(groups.items()):  # the programs before the servers they use
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


if __name__ == "__main__":
    main()
