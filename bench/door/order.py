"""What the load is told, and what it tells; both travel as JSON between two processes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Order:
    """`per_second` 0 is closed load: each connection asks again when it was answered. Otherwise so many are due."""

    port: int
    key: str
    body_bytes: int
    connections: int
    seconds: float
    warm_up_seconds: float
    per_second: float = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`accepted`: every 200 there was, also while warming up. The other figures are of the measured time alone.

    Milliseconds count from when a request was due, so that a server that stalls cannot hide those who would have come.
    `sender_cpu_share`: of one core, by the process that sends.
    """

    accepted: int
    errors: int
    answers_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    sender_cpu_share: float
