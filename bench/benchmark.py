"""What a benchmark is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

#: Rates end in `_per_second`, ratios in `_ratio`, percentiles in `_p99_ms`. `broken`: what must never be, in words.
Figures: TypeAlias = dict[str, Any]


class Measuring(Protocol):
    """Takes minutes, or `quick` a size that a test can wait for."""

    def __call__(self, *, quick: bool) -> Figures:
        """What was measured."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """`measures` says in a line what."""

    name: str
    measures: str
    do: Measuring
