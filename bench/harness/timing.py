"""Percentiles of durations, and rates of moments. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
#: At the beginning threads start and modules load, at the end slots stay empty: neither counts for a rate.
FROM, UNTIL = 0.1, 0.9


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that this share of all does not exceed; 0 without values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def percentiles_ms(name: str, seconds: Iterable[float]) -> dict[str, float]:
    """Return `NAME_p50_ms`, `NAME_p95_ms` and `NAME_p99_ms`."""
    ordered = sorted(seconds)
    return {f"{name}_{word}_ms": round(percentile(ordered, share) * 1000, 1) for word, share in SHARES.items()}


def middle_rate(moments: Sequence[float]) -> float:
    """Return how many a second in the middle part; 0 where there is no such part."""
    ordered = sorted(moments)
    first, last = int(len(ordered) * FROM), int(len(ordered) * UNTIL)
    return rate_between(ordered, first, last) if last > first else 0.0


def rate_between(ordered: Sequence[float], first: int, last: int) -> float:
    """Return how many a second from one place to the other; 0 where no time passed."""
    took = ordered[last] - ordered[first]
    return (last - first) / took if took else 0.0
