"""All benchmarks there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.backlog.benchmark import BACKLOG
from bench.door.benchmark import DOOR
from bench.flow.benchmark import FLOW
from bench.record.benchmark import RECORD
from bench.record.stored import STORED_EVENTS
from bench.scale.benchmark import SCALE

if TYPE_CHECKING:
    from bench.benchmark import Benchmark


def catalogue() -> dict[str, Benchmark]:
    """Every benchmark by its name."""
    return {each.name: each for each in (DOOR, RECORD, STORED_EVENTS, FLOW, BACKLOG, SCALE)}
