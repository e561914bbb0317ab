"""A process that outlives a killed `mailroom up` by a moment, to end what that one had started.

The kernel's death signal reaches direct children on Linux only; this reaches their children and macOS too.
It is run as a file of its own, so that it starts without loading anything of ours.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None  # loaded before any fork


def spawn(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    output: IO[bytes] | int,
    on_our_death: signal.Signals,
    folder: Path,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a program in its own session; on Linux it gets `on_our_death` when we end, even by SIGKILL.

    The kernel ties that to the thread that forks: call this from the main thread.
    """
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent(on_our_death),  # noqa: PLW1509 - forks happen before any thread
        **options,
    )


def end(process: subprocess.Popen[bytes], politely: signal.Signals, grace: float) -> None:
    """Ask a process to stop and kill it when it has not within the grace."""
    if process.poll() is None:
        process.send_signal(politely)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    if _libc is None:
        return None
    parent, prctl = os.getpid(), _libc.prctl

    def preexec() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died between fork and prctl
            os.kill(os.getpid(), signal.SIGKILL)

    return preexec


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
