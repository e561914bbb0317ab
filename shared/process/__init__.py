"""The parts of every process: log, metrics, server, heartbeat and stop."""

from __future__ import annotations

import os


def is_running(pid: str) -> bool:
    """Whether this machine has a process with this id."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        return True  # somebody else's
    return True
