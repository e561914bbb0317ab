"""A hundred thousand webhooks that wait, until the last change at Front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.backlog.drain import drain
from bench.backlog.filling import fill
from bench.benchmark import Benchmark
from bench.flow.side import TENANTS
from bench.flow.stage import stage
from bench.harness.servers import both_servers
from bench.timed import timed

if TYPE_CHECKING:
    from bench.benchmark import Figures

QUICK, FULL = 1_000, 100_000
NOTE = (
    "The webhooks came from the small Front through our door, with nothing behind it, and the tenants mixed. Then one"
    " recorder, one worker with 16 threads and one sweeper were started; times are from there, their start included."
    " The conversation of an event older than a minute is read at Front, and so are its events, before it is changed:"
    " three calls. Rates of changes and calls are of the middle eight tenths; the first tenth begins with the first"
    " change."
)


def backlog(*, quick: bool) -> Figures:
    """Filled and drained on empty servers."""
    webhooks = QUICK if quick else FULL
    took: dict[str, float] = {}
    with both_servers() as (servers, folder), stage(servers, folder, "waiting", companies=TENANTS) as on:
        with timed(took, "filling"):
            filled = fill(on, webhooks)
        with timed(took, "draining"):
            found = drain(on, webhooks, within=300 + webhooks / 20)
        with timed(took, "verdict"):
            verdict = on.verdict()
    return {
        "webhooks": webhooks,
        "filled_per_second": round(filled, 1),
        **found,
        **verdict,
        "took_seconds": took,
        "note": NOTE,
        "broken": broken(verdict, settled=found["settled"]),
    }


def broken(verdict: dict[str, int], *, settled: bool) -> list[str]:
    """What must never be, in words."""
    failings = [f"{count} {failing}" for failing, count in verdict.items() if count]
    return failings if settled else [*failings, "not all was done in time"]


BACKLOG = Benchmark(
    name="backlog", measures="100,000 webhooks that wait behind the door, until the last change at Front", do=backlog
)
