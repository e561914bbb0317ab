"""Ends a server that a killed run left behind (macOS has no death signal)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

PATIENCE = 15.0  # seconds for a clean stop


def end_leftover(pid_file: Path, mark: str) -> None:
    """Stop the process named in `pid_file` if its command line holds `mark`; forget a stranger's file.

    Call it only under the folder's lock: then nobody else can own that server.
    """
    pid = _pid_in(pid_file)
    if pid is None or not _command_line(pid):
        return  # PostgreSQL itself knows what to do with the file of a dead server
    if mark not in _command_line(pid):
        pid_file.unlink(missing_ok=True)  # the number was given to a stranger since
        return
    for number in (signal.SIGINT, signal.SIGKILL):
        os.kill(pid, number)
        if _gone(pid, mark):
            return


def _pid_in(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _command_line(pid: int) -> str:
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    shown = subprocess.run(["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()


def _gone(pid: int, mark: str) -> bool:
    deadline = time.monotonic() + PATIENCE
    while mark in _command_line(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
