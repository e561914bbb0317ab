"""Where one machine ends, by division of what was measured. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.markdown import table

if TYPE_CHECKING:
    from bench.benchmark import Figures

MILLION = 1_000_000
BODY_BYTES = 2_400
DAY_SECONDS = 86_400


def limits(flow: Figures, record: Figures, scale: Figures) -> str:
    """What ends first, and what to add then."""
    rate, used = max((int(rate), each["cpu_seconds_per_1000"]) for rate, each in flow["rates"].items())
    of_a_core, servers = 1000 / used["ours"], used["postgres"] + used["redis"]
    task = flow["backlog"]["cpu_seconds_per_1000"]["worker"]
    recorded = record["ours_per_second"]
    body = scale["redis_to_body_bytes_ratio"]
    rounds = scale["dispatch_rounds"][-1]
    rows = (
        (
            "cores, for the whole way",
            f"{used['ours']:.1f} ms of CPU an event at {rate} a second: about {of_a_core:,.0f} a second and core",
            f"cores, or PostgreSQL and Redis elsewhere: they are {servers:.1f} ms of it",
        ),
        (
            "the recorder",
            f"{recorded:,.0f} events a second: {recorded * DAY_SECONDS / MILLION:,.0f} million a day",
            "recorders by company, each with its own stream; a faster disk for PostgreSQL",
        ),
        (
            "a worker process",
            f"{task:.1f} ms of its CPU a task, and one core: about {1000 / task:,.0f} tasks a second",
            "another `worker`",
        ),
        ("Front's budget", "120 calls a minute and company: two a second", "a higher limit from Front"),
        (
            "Redis' memory, while nothing is recorded",
            f"{body} bytes for a byte of body: {body * BODY_BYTES * MILLION / 1e9:.1f} GB for 1,000,000 deliveries",
            "memory, or a recorder that works",
        ),
        (
            "the sweeper's rounds",
            f"{rounds['median_ms']} ms over {rounds['tenants']:,} tenants with {rounds['due']:,} due",
            "nothing up to some ten thousand tenants; then rounds over a part of them",
        ),
        (
            "PostgreSQL's tables",
            "the cost of an event over stored ones, above",
            "retention first; then `events` and what hangs on it partitioned by month",
        ),
    )
    return table(["what ends first", "where", "what to add"], rows)
