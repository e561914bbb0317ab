"""All benchmarks, and how one is run: with the machine, the moment and the promises beside its figures."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.backlog import BACKLOG
from bench.door.benchmark import DOOR
from bench.flow.benchmark import FLOW
from bench.machine import load_average, machine
from bench.record.benchmark import RECORD, STORED
from bench.results import promises
from bench.scale import SCALE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.benchmark import Benchmark, Figures

#: The name that runs all benchmarks, one after the other.
ALL = "all"


def catalogue() -> dict[str, Benchmark]:
    """Return every benchmark by its name."""
    return {each.name: each for each in (DOOR, RECORD, STORED, FLOW, BACKLOG, SCALE)}


def measure(name: str, *, quick: bool) -> Figures:
    """Run one benchmark; return its result."""
    at, before = datetime.now(UTC).isoformat(timespec="seconds"), machine()
    figures = {"name": name, "quick": quick, "at": at, **catalogue()[name].run(quick=quick)}
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
