"""How much memory there is for the servers."""

from __future__ import annotations

import os
from pathlib import Path


def memory_bytes() -> int:
    """What this machine, or this container, has."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # not a container, or "max"
        return whole
