"""What many moments say together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.door.percentile import percentile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
#: Threads are started and modules loaded at the beginning, slots stay empty at the end: neither is a rate.
FROM, UNTIL = 0.1, 0.9


def spread(name: str, seconds: Iterable[float]) -> dict[str, float]:
    """`NAME_p50_ms` and so on."""
    ordered = sorted(seconds)
    return {f"{name}_{word}_ms": round(percentile(ordered, share) * 1000, 1) for word, share in SHARES.items()}


def middle_rate(moments: Sequence[float]) -> float:
    """How many a second in the middle part; 0 where there is no such part."""
    ordered = sorted(moments)
    first, last = int(len(ordered) * FROM), int(len(ordered) * UNTIL)
    return rate_between(ordered, first, last) if last > first else 0.0


def rate_between(ordered: Sequence[float], first: int, last: int) -> float:
    """How many a second from the one place to the other; 0 where no time went by."""
    took = ordered[last] - ordered[first]
    return (last - first) / took if took else 0.0
