"""The whole way, beside a Front that takes 80 ms for each call."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.benchmark import Benchmark
from bench.flow.backlog import drain
from bench.flow.beside import beside_others
from bench.flow.downloads import AT_ONCE, THREADS, careless, download
from bench.flow.fairness import PROMISED_SECONDS, beside
from bench.flow.memory import MemoryOverTime
from bench.flow.stage import BUDGET, stage
from bench.flow.steady import is_steady, steady
from bench.flow.trials import Length
from bench.harness.servers import both_servers
from bench.timed import timed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.benchmark import Figures
    from bench.harness.servers import Servers

WARM_UP = (10, 3.0)
NOTE = (
    "Sender, small Front, servers and all of Mailroom share the cores named in `machine`. Rates are fixed: the sender"
    " does not wait for anything. rows: until another connection sees the row; action: until Front has changed the"
    " conversation, its 80 ms included. calls_per_second and memory are of one worker process with 16 threads;"
    " files are stored by one with 32, half of which may do that. beside: all do 16 webhooks at a time."
)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything. `steps`: rates that are tried until work piles up."""

    rates: tuple[int, ...]
    steps: tuple[int, ...]
    seconds: float
    backlog: int
    one_tenants: int
    busy_tenants: int
    beside: Length
    peers: bool
    files: int
    file_mb: int
    file_seconds: float
    tenants: int = 10


QUICK = Size(
    rates=(20, 50),
    steps=(),
    seconds=15.0,
    backlog=1_500,
    one_tenants=1_000,
    busy_tenants=50,
    beside=Length(backlog=200, rates=(20,), seconds=5.0, troubled_per_second=20, troubled_seconds=8.0, kills=2),
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
    beside=Length(backlog=1_000, rates=(20, 50), seconds=15.0, troubled_per_second=30, troubled_seconds=20.0, kills=4),
    peers=True,
    files=AT_ONCE,
    file_mb=25,
    file_seconds=20.0,
)


def flow(*, quick: bool) -> Figures:
    """Fixed rates, a backlog, tenants beside each other, files, and others; each on an empty database."""
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
        with timed(took, "beside"):
            others = beside_others(servers, folder, size.beside, peers=size.peers)
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
        "beside": others["trials"],
        "titles": others["titles"],
        "left_out": others["left_out"],
        "took_seconds": took,
        "note": NOTE,
        "broken": [
            *_failings(verdicts),
            *_late(noisy, "one backlog"),
            *_late(crowd, "many backlogs"),
            *careless(files, size.files),
            *others["broken"],
        ],
    }


def _rates(
    servers: Servers, folder: Path, size: Size
) -> tuple[dict[int, dict[str, Any]], dict[str, Any], dict[str, int]]:
    with stage(servers, folder, "rates", companies=size.tenants) as on, MemoryOverTime(on.mailroom.platform) as memory:
        steady(on, *WARM_UP)
        found: dict[int, dict[str, Any]] = {}
        for rate in (*size.rates, *size.steps):
            found[rate] = steady(on, rate, size.seconds)
            _tell(f"{rate} a second", found[rate])
            if rate in size.steps and not is_steady(found[rate]):
                break
        return found, memory.figures(), on.verdict()


def _backlog(servers: Servers, folder: Path, size: Size) -> tuple[dict[str, Any], dict[str, int]]:
    with stage(servers, folder, "backlog", companies=size.tenants) as on:
        figures = drain(on, size.backlog, within=60 + size.backlog / 20)
        _tell("backlog", figures)
        return figures, on.verdict()


def _fairness(servers: Servers, folder: Path, name: str, *, tenants: int, each: int) -> dict[str, Any]:
    with stage(servers, folder, name, companies=tenants + 5, budget=BUDGET) as on:
        figures = beside(on, each)
        _tell(name, figures)
        return {**figures, "verdict": on.verdict()}


def _downloads(servers: Servers, folder: Path, size: Size) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """First small ones, which load what files need; then slowly, all at once; then as fast as it goes."""
    with stage(servers, folder, "downloads", companies=size.files, WORKER_THREADS=THREADS) as on:
        download(on, 1)
        slow = download(on, size.file_mb, slowly=size.file_seconds)
        found = {"slow": slow, "fast": download(on, size.file_mb)}
        _tell("downloads", found)
        return found, on.verdict()


def _tell(what: str, figures: dict[str, Any]) -> None:
    print(f"{what}: {figures}", file=sys.stderr, flush=True)


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
    do=flow,
)
