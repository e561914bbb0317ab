"""Starts a program so that it never outlives us, and ends it politely."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
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
