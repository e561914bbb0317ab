"""All benchmarks, and how one is run: with the machine, the moment and the promises beside its figures."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bench.backlog import BACKLOG
from bench.console.benchmark import CONSOLE
from bench.door.benchmark import DOOR
from bench.flow.benchmark import FLOW
from bench.limit import LIMIT
from bench.notify import NOTIFY
from bench.peers.install import locked_versions, node_version
from bench.record.benchmark import RECORD, STORED
from bench.results import promises
from bench.scale import SCALE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.harness.benchmark import Benchmark, Figures, Measure

#: The name that runs all benchmarks, one after the other.
ALL = "all"
PACKAGES = ("flask", "granian", "gunicorn", "celery", "kombu", "redis", "psycopg")


def catalogue() -> dict[str, Benchmark]:
    """Return every benchmark by its name."""
    return {each.name: each for each in (DOOR, RECORD, STORED, FLOW, BACKLOG, LIMIT, NOTIFY, SCALE, CONSOLE)}


def measure(name: str, *, quick: bool, run: Measure | None = None) -> Figures:
    """Run one benchmark, or `run` in its place; return its result."""
    at, before = datetime.now(UTC).isoformat(timespec="seconds"), machine()
    figures = {"name": name, "quick": quick, "at": at, **(run or catalogue()[name].run)(quick=quick)}
    return {**figures, "promises": promises(figures), "machine": {**before, "load_average_after": load_average()}}


def combine(results: Iterable[Figures]) -> Figures:
    """Return several results as one: the promises of all first, then each result by its name."""
    named = {figures["name"]: figures for figures in results}
    return {
        "name": ALL,
        "promises": [promise for figures in named.values() for promise in figures["promises"]],
        "broken": [f"{name}: {problem}" for name, figures in named.items() for problem in figures["broken"]],
        **named,
    }


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
