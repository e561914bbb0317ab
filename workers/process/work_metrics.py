"""The counters of recorders, workers and the sweeper. Each process shows its own on METRICS_PORT."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

ATTEMPTS = Counter(
    "mailroom_attempts",
    "Attempts at tasks: the state that each led to (`ready`: it goes on later), and the code of a failure or wait",
    ["kind", "state", "code"],
)
TASK_SECONDS = Histogram(
    "mailroom_task_seconds",
    "How long an attempt at a task took",
    ["kind"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0),
)
RECORDED = Counter("mailroom_recorded_deliveries", "Deliveries that this process has recorded")
CHUNK_SECONDS = Histogram(
    "mailroom_record_chunk_seconds",
    "How long the transaction of a chunk of deliveries took",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
SWEEP_SECONDS = Histogram(
    "mailroom_sweep_seconds",
    "How long a periodic job of the sweeper took",
    ["job"],
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0),
)
SWEEP_FAILURES = Counter("mailroom_sweep_failures", "Periodic jobs of the sweeper that failed", ["job"])
