"""The machine and the versions that a figure was measured with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench.peers.install import locked_versions, node_version

PACKAGES = ("flask", "granian", "gunicorn", "celery", "kombu", "redis", "psycopg")


def machine() -> dict[str, Any]:
    """Return cores, kernel, versions, and the load average of this moment."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_name(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "node": node_version(),
        "load_average": load_average(),
        "packages": {name: version(name) for name in PACKAGES},
        "peers": locked_versions(),
    }


def load_average() -> list[float]:
    """Return the three load averages of this moment."""
    return [round(load, 2) for load in os.getloadavg()]


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
