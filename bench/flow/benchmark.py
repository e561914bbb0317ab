"""The way from the webhook to the change at a Front that takes 80 ms for each call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.flow import downloads
from bench.flow.backlogs import PROMISED_SECONDS, drain, event_beside_backlogs
from bench.flow.comparison import Length, compare
from bench.flow.fixed_rate import MemoryOverTime, is_steady, steady
from bench.flow.fixture import BUDGET, TENANTS, fixture
from bench.flow.footprint import footprint, footprint_table
from bench.harness.benchmark import Benchmark, report, timed
from bench.harness.servers import both_servers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.harness.benchmark import Figures
    from bench.harness.servers import Servers

WARM_UP = (10, 3.0)
NOTE = (
    "Sender, small Front, servers and all of Mailroom share the cores named in `machine`. Rates are fixed: the sender"
    " waits for nothing. rows: until another connection sees the row; action: until Front has changed the conversation,"
    " its 80 ms included. calls_per_second and memory are of one worker process with 16 threads; files are stored by"
    " one with 32, half of which may do that. beside: each system runs 16 webhooks at a time."
)


@dataclass(frozen=True, kw_only=True)
class Size:
    """The amounts of each part; `steps` are rates that are tried until a queue grows."""

    rates: tuple[int, ...]
    steps: tuple[int, ...]
    seconds: float
    backlog: int
    one_tenants: int
    busy_tenants: int
    compared: Length
    peers: bool
    files: int
    file_mb: int
    file_seconds: float


QUICK = Size(
    rates=(20, 50),
    steps=(),
    seconds=15.0,
    backlog=1_500,
    one_tenants=1_000,
    busy_tenants=50,
    compared=Length(backlog=200, rates=(20,), seconds=5.0, troubled_per_second=20, troubled_seconds=8.0, kills=2),
    peers=False,
    files=8,
    file_mb=5,
    file_seconds=3.0,
)
FULL = Size(
    rates=(10, 50, 100),
    steps=(125, 150, 175, 200),
    seconds=30.0,
    backlog=10_000,
    one_tenants=50_000,
    busy_tenants=999,
    compared=Length(
        backlog=1_000, rates=(20, 50), seconds=15.0, troubled_per_second=30, troubled_seconds=20.0, kills=4
    ),
    peers=True,
    files=downloads.AT_ONCE,
    file_mb=25,
    file_seconds=20.0,
)


def flow(*, quick: bool) -> Figures:
    """Measure fixed rates, backlogs, files and the peers, each on an empty database."""
    size = QUICK if quick else FULL
    took: dict[str, float] = {}
    with both_servers() as (servers, folder):
        with timed(took, "rates"):
            rates, memory, verdict = _rates(servers, folder, size)
        with timed(took, "backlog"):
            backlog, of_backlog = _backlog(servers, folder, size)
        with timed(took, "fairness"):
            noisy = _fairness(servers, folder, "noisy", tenants=1, each=size.one_tenants)
            crowd = _fairness(servers, folder, "crowd", tenants=size.busy_tenants, each=50)
        with timed(took, "downloads"):
            files, of_files = _downloads(servers, folder, size)
        with timed(took, "footprint"):
            counts = footprint(servers, folder)
            report(footprint_table(counts))
        with timed(took, "beside"):
            others = compare(servers, folder, size.compared, peers=size.peers)
    verdicts = [verdict, of_backlog, noisy.pop("verdict"), crowd.pop("verdict"), of_files]
    held = [rate for rate, figures in rates.items() if is_steady(figures)]
    return {
        **{f"{name}_at_{rate}_p99_ms": rates[rate][f"{name}_p99_ms"] for rate in rates for name in ("rows", "action")},
        "highest_steady_per_second": max(held, default=0),
        "calls_per_second": backlog["calls_per_second"],
        "worker_memory_mb": backlog["worker_memory_mb"],
        "drain_seconds": backlog["drain_seconds"],
        "noisy_tenant_event_slowest_ms": noisy["event_slowest_ms"],
        "many_backlogs_event_slowest_ms": crowd["event_slowest_ms"],
        "downloads_memory_mb": max(each["memory_mb"] for each in files.values()),
        "downloads_mb_per_second": files["fast"]["mb_per_second"],
        **{failing: sum(each[failing] for each in verdicts) for failing in verdict},
        "rates": {str(rate): figures for rate, figures in rates.items()},
        "memory_over_time": memory,
        "backlog": backlog,
        "noisy_tenant": noisy,
        "many_backlogs": crowd,
        "downloads": files,
        "footprint": counts,
        "beside": others["trials"],
        "titles": others["titles"],
        **others["ratios"],
        "left_out": others["left_out"],
        "took_seconds": took,
        "note": NOTE,
        "broken": [
            *_failings(verdicts),
            *_late(noisy, "one backlog"),
            *_late(crowd, "many backlogs"),
            *downloads.violations(files, size.files),
            *others["broken"],
        ],
    }


def _rates(
    servers: Servers, folder: Path, size: Size
) -> tuple[dict[int, dict[str, Any]], dict[str, Any], dict[str, int]]:
    with fixture(servers, folder, "rates", companies=TENANTS) as on, MemoryOverTime(on.mailroom.platform) as memory:
        steady(on, *WARM_UP)
        found: dict[int, dict[str, Any]] = {}
        for rate in (*size.rates, *size.steps):
            found[rate] = steady(on, rate, size.seconds)
            report(f"{rate} a second: {found[rate]}")
            if rate in size.steps and not is_steady(found[rate]):
                break
        return found, memory.figures(), on.verdict()


def _backlog(servers: Servers, folder: Path, size: Size) -> tuple[dict[str, Any], dict[str, int]]:
    with fixture(servers, folder, "backlog", companies=TENANTS) as on:
        figures = drain(on, size.backlog, within=60 + size.backlog / 20)
        report(f"backlog: {figures}")
        return figures, on.verdict()


def _fairness(servers: Servers, folder: Path, name: str, *, tenants: int, each: int) -> dict[str, Any]:
    with fixture(servers, folder, name, companies=tenants + 5, budget=BUDGET) as on:
        figures = event_beside_backlogs(on, each)
        report(f"{name}: {figures}")
        return {**figures, "verdict": on.verdict()}


def _downloads(servers: Servers, folder: Path, size: Size) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Store small files first, which load the modules; then large ones slowly and all at once; then at full speed."""
    with fixture(servers, folder, "downloads", companies=size.files, WORKER_THREADS=downloads.THREADS) as on:
        downloads.download(on, 1)
        slow = downloads.download(on, size.file_mb, slowly=size.file_seconds)
        found = {"slow": slow, "fast": downloads.download(on, size.file_mb)}
        report(f"downloads: {found}")
        return found, on.verdict()


def _failings(verdicts: Iterable[dict[str, int]]) -> list[str]:
    return [f"{count} {failing}" for each in verdicts for failing, count in each.items() if count]


def _late(figures: dict[str, Any], what: str) -> list[str]:
    broken: list[str] = figures.pop("broken")
    if figures["event_slowest_ms"] > PROMISED_SECONDS * 1000:
        broken.append(f"{what}: an event took {figures['event_slowest_ms']} ms")
    return broken


FLOW = Benchmark(
    name="flow",
    measures="webhook to row and to the change at Front, backlogs, fairness, files, and the same by others",
    run=flow,
)
