"""Start child processes that do not outlive this one, even when it is killed.

On Linux the kernel sends a child a signal when its parent dies. That reaches neither grandchildren nor macOS, so a
guard process runs beside us and signals all registered process groups. The guard runs this file as a script of its own,
so that it starts without loading anything of ours.
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
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>
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

    Call it from the main thread: the kernel ties that signal to the thread that forks.
    """
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_request_death_signal(on_our_death),  # noqa: PLW1509 - forks happen before any thread
        **options,
    )


def stop_process(process: subprocess.Popen[bytes], number: signal.Signals, grace: float) -> None:
    """Send the signal `number`, wait up to `grace` seconds, then kill."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to the process's group; nothing happens if the group is gone."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says "not permitted" of a group of zombies
        os.killpg(process.pid, signal.SIGKILL)


class Guard:
    """A second process that signals the registered process groups when this one ends without `__exit__`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # at the end of its input it would signal the groups
        self._process.communicate()

    def watch(self, group: int, number: signal.Signals) -> None:
        """Have the signal `number` sent to this group when we are gone."""
        self._send(f"{group} {number.value}")

    def forget(self, group: int) -> None:
        """Take the group off the list: it has ended."""
        self._send(f"{group} 0")

    def _send(self, line: str) -> None:
        with suppress(BrokenPipeError):  # a lost guard leaves things as they would be without one
            print(line, file=self._process.stdin, flush=True)


def guard_groups() -> None:
    """Keep the list of groups that arrives on stdin; signal them when the sender is gone."""
    groups: dict[int, int] = {}
    for line in sys.stdin:
        group, number = map(int, line.split())
        groups.pop(group, None)
        if number:
            groups[group] = number
    for group, number in reversed(groups.items()):  # the programs before the servers that they use
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def _request_death_signal(number: signal.Signals) -> Callable[[], None] | None:
    if _libc is None:
        return None
    parent, prctl = os.getpid(), _libc.prctl

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # the parent died between fork and prctl
            os.kill(os.getpid(), signal.SIGKILL)

    return in_child


if __name__ == "__main__":
    guard_groups()
