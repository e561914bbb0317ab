"""A hundred thousand webhooks that wait, until the last change at Front."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psycopg

from bench.flow.fixture import TENANTS, first_changes, fixture
from bench.harness.benchmark import Benchmark, timed
from bench.harness.mail import order
from bench.harness.mailroom import BEHIND_THE_DOOR
from bench.harness.servers import both_servers
from bench.harness.timing import middle_rate, rate_between
from bench.harness.usage import CpuByKind, memory_mb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.flow.fixture import Fixture
    from bench.harness.benchmark import Figures
    from bench.harness.mailroom import Mailroom

QUICK, FULL = 1_000, 100_000
NOTE = (
    "The small Front sent the webhooks to our door, the tenants mixed, with no process behind it. Then one recorder,"
    " one worker with 16 threads and one sweeper were started, and times count from there. For an event"
    " older than a minute the conversation and its events are read at Front before the change: three calls. Rates of"
    " changes and calls are of the middle eight tenths; the first tenth begins with the first change."
)
#: Webhooks of one company before those of the next: tenants are mixed, as they are when a recorder was away.
TOGETHER = 100
#: Orders at once, and threads of each: more would only wait for each other in the small Front.
ORDERS, THREADS = 2, 2
SAMPLE_SECONDS = 2.0
PARTS = 10
RECORDED = "SELECT extract(epoch FROM max(recorded_at))::float8 FROM events"
#: Each part finds its first row by a partial index. Counting the rows would cost more with every row.
OPEN = """
SELECT EXISTS (SELECT FROM spooled_deliveries)
    OR EXISTS (SELECT FROM tasks WHERE state IN ('queued', 'running'))
    OR EXISTS (SELECT FROM tasks WHERE state = 'ready' AND kind NOT IN ('store_attachment', 'notify'))
    OR EXISTS (SELECT FROM tasks WHERE state = 'ready' AND kind = 'store_attachment')
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample in wall-clock time: MB by kind of process, and the seconds that the search for open work took."""

    at: float
    took: float
    memory: dict[str, float]
    load_average: float
    is_open: bool


def backlog(*, quick: bool) -> Figures:
    """Fill the intake on empty servers, and finish the work."""
    webhooks = QUICK if quick else FULL
    took: dict[str, float] = {}
    with both_servers() as (servers, folder), fixture(servers, folder, "waiting", companies=TENANTS) as on:
        with timed(took, "filling"):
            filled = _fill(on, webhooks)
        with timed(took, "draining"):
            found = _drain(on, webhooks, within=300 + webhooks / 20)
        with timed(took, "verdict"):
            verdict = on.verdict()
    return {
        "webhooks": webhooks,
        "filled_per_second": round(filled, 1),
        **found,
        **verdict,
        "took_seconds": took,
        "note": NOTE,
        "broken": violations(verdict, settled=found["settled"]),
    }


def violations(verdict: dict[str, int], *, settled: bool) -> list[str]:
    """Return the violated guarantees in words."""
    failings = [f"{count} {failing}" for failing, count in verdict.items() if count]
    return failings if settled else [*failings, "some work was not done in time"]


def _fill(on: Fixture, webhooks: int) -> float:
    """Stop the processes behind the door and send it webhooks; return how many it accepted a second."""
    problems = on.mailroom.platform.stop(*BEHIND_THE_DOOR)
    assert not problems, problems
    began = time.monotonic()
    with ThreadPoolExecutor(ORDERS) as threads:
        taken = sum(threads.map(lambda share: _sent(on, *share), _shares(on, webhooks)))
    took = time.monotonic() - began
    assert taken == webhooks, f"the door took {taken} of {webhooks}"
    return taken / took


def _shares(on: Fixture, webhooks: int) -> Iterator[tuple[str, int]]:
    each = webhooks // len(on.companies)
    for begin in range(0, each, TOGETHER):
        for company in on.companies:
            yield company, min(TOGETHER, each - begin)


def _sent(on: Fixture, company: str, count: int) -> int:
    how = order(company, count=count, threads=THREADS)
    return int(on.mailroom.front.send("inbound_received", company, **how)["acknowledged"])


def _drain(on: Fixture, webhooks: int, within: float) -> dict[str, Any]:
    """Start the processes behind the door and sample them until no work is left; `settled` tells whether in time."""
    platform = on.mailroom.platform
    began, costs = time.time(), CpuByKind(on.servers, platform)
    platform.procfile({"web": 0}, pool="threads")
    samples = _samples_until_done(on.mailroom, began + within)
    used = costs.each_1000(webhooks)
    [(recorded,)] = on.mailroom.rows(RECORDED)
    calls = [call for call in on.mailroom.front.calls() if call["at"] >= began]
    changes = list(first_changes(calls).values())
    return {
        "drain_rows_seconds": round((recorded or began) - began, 1),
        "drain_seconds": round(max(changes, default=began) - began, 1),
        "changes_per_second": round(middle_rate(changes), 1),
        "calls_per_second": round(middle_rate([call["at"] for call in calls]), 1),
        **highest_memory(samples),
        "redis_memory_mb": _redis_peak_mb(on),
        "slowest_look_ms": round(max(each.took for each in samples) * 1000, 1),
        "changes": len(changes),
        "calls": len(calls),
        "tenths": tenths(changes, began),
        "cpu_seconds_per_1000": used,
        "load_average": round(max(each.load_average for each in samples), 2),
        "settled": not samples[-1].is_open,
    }


def _redis_peak_mb(on: Fixture) -> float:
    """Return the peak since the server's start, as the server itself keeps it."""
    with on.mailroom.redis() as client:
        memory: Any = client.info("memory")
    return round(int(memory["used_memory_peak"]) / 2**20, 1)


def _samples_until_done(mailroom: Mailroom, deadline: float) -> list[Sample]:
    """Sample until no work is left, or until the deadline."""
    with _index_only(mailroom) as conn:
        samples = [_sample(mailroom, conn)]
        while samples[-1].is_open and samples[-1].at < deadline:
            time.sleep(SAMPLE_SECONDS)
            samples.append(_sample(mailroom, conn))
    return samples


@contextmanager
def _index_only(mailroom: Mailroom) -> Iterator[psycopg.Connection]:
    """Open a connection that prefers any index to reading a whole table."""
    with psycopg.connect(mailroom.database_url, autocommit=True, options="-c enable_seqscan=off") as conn:
        yield conn


def _sample(mailroom: Mailroom, conn: psycopg.Connection) -> Sample:
    at, began = time.time(), time.perf_counter()
    is_open = _is_open(mailroom, conn)
    took = time.perf_counter() - began
    memory = {kind: memory_mb(mailroom.platform.pids(kind)) for kind in BEHIND_THE_DOOR}
    return Sample(at=at, took=took, memory=memory, load_average=os.getloadavg()[0], is_open=is_open)


def _is_open(mailroom: Mailroom, conn: psycopg.Connection) -> bool:
    """Tell whether work is left. The intake comes first: a delivery that leaves it is a row by then."""
    if mailroom.intake_depth():
        return True
    row = conn.execute(OPEN).fetchone()
    return bool(row and row[0])


def tenths(moments: Iterable[float], began: float) -> dict[str, list[float]]:
    """Return the rate of each tenth of the moments, and when it was over, in seconds since `began`."""
    ordered = sorted(moments)
    places = [min(part * len(ordered) // PARTS, len(ordered) - 1) for part in range(PARTS + 1)] if ordered else []
    return {
        "until_seconds": [round(ordered[place] - began, 1) for place in places[1:]],
        "changes_per_second": [round(rate_between(ordered, first, last), 1) for first, last in pairwise(places)],
    }


def highest_memory(samples: Sequence[Sample]) -> dict[str, float]:
    """Return `KIND_memory_mb` of the whole time, and `KIND_memory_first_tenth_mb`."""
    began, ended = samples[0].at, samples[-1].at
    early = [each for each in samples if each.at <= began + (ended - began) / PARTS]
    found: dict[str, Any] = {}
    for kind in samples[0].memory:
        found[f"{kind}_memory_first_tenth_mb"] = round(max(each.memory[kind] for each in early), 1)
        found[f"{kind}_memory_mb"] = round(max(each.memory[kind] for each in samples), 1)
    return found


BACKLOG = Benchmark(
    name="backlog", measures="100,000 webhooks that wait behind the door, until the last change at Front", run=backlog
)
