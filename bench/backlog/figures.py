"""What the moments and looks of a backlog say together. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bench.flow.moments import rate_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.backlog.looks import Look

PARTS = 10


def tenths(moments: Iterable[float], began: float) -> dict[str, list[float]]:
    """How fast each tenth of them came, by count, and when it was over, in seconds since `began`."""
    ordered = sorted(moments)
    places = [min(part * len(ordered) // PARTS, len(ordered) - 1) for part in range(PARTS + 1)] if ordered else []
    return {
        "until_seconds": [round(ordered[place] - began, 1) for place in places[1:]],
        "changes_per_second": [round(rate_between(ordered, first, last), 1) for first, last in pairwise(places)],
    }


def highest_memory(looks: Sequence[Look]) -> dict[str, float]:
    """`KIND_memory_mb`, and of the first tenth of the time `KIND_memory_first_tenth_mb`."""
    began, ended = looks[0].at, looks[-1].at
    early = [look for look in looks if look.at <= began + (ended - began) / PARTS]
    found: dict[str, Any] = {}
    for kind in looks[0].memory:
        found[f"{kind}_memory_first_tenth_mb"] = round(max(look.memory[kind] for look in early), 1)
        found[f"{kind}_memory_mb"] = round(max(look.memory[kind] for look in looks), 1)
    return found
