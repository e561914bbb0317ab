"""The definition of a benchmark, and the progress that it prints."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Rates end in `_per_second`, ratios in `_ratio`, percentiles in `_p99_ms`. `broken` lists violated guarantees.
Figures: TypeAlias = dict[str, Any]

#: The name of Mailroom where a benchmark compares it with others.
OURS = "ours"


class Measure(Protocol):
    """Runs for minutes, or with `quick` at a size that a test can wait for."""

    def __call__(self, *, quick: bool) -> Figures:
        """Return the figures."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """`measures` is the line that `./run bench --list` shows."""

    name: str
    measures: str
    run: Measure


@contextmanager
def timed(took: dict[str, float], part: str) -> Iterator[None]:
    """Add the seconds that the body takes to `took[part]`, and print the sum to stderr."""
    began = time.monotonic()
    yield
    took[part] = round(took.get(part, 0.0) + time.monotonic() - began, 1)
    report(f"{part} took {took[part]} s")


def report(line: str) -> None:
    """Print progress to stderr: stdout is for the result."""
    print(line, file=sys.stderr, flush=True)
