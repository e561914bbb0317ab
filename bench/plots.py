"""The drawings beside docs/performance.md, of kept results. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.drawn import Bar, bars, lines
from bench.flow.memory import KINDS
from bench.record.figures import PROFILED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.benchmark import Figures

#: What was promised at 50 webhooks a second: design targets in milliseconds.
PROMISED = {"rows": 100.0, "action": 1000.0}
PROMISED_RATE = "50"
#: Those that keep what they accept, and the empty view.
DOORS = ("ours", "ceiling", "textbook", "fastapi_arq", "express_bullmq")


def drawings(kept: Mapping[str, Figures]) -> dict[str, str]:
    """Every drawing by its file's name, of the results there are."""
    drawn = {}
    if "door" in kept:
        drawn["door.svg"] = _door(kept["door"])
    if "record" in kept:
        drawn["record.svg"] = _record(kept["record"])
    if "flow" in kept:
        for what in PROMISED:
            title = f"From the webhook to the {'row' if what == 'rows' else 'change at Front'}, {_load(kept['flow'])}"
            drawn[f"flow_{what}.svg"] = bars(title, "ms", list(_latencies(kept["flow"], what)))
        drawn["memory.svg"] = _memory(kept["flow"])
    if "backlog" in kept:
        drawn["backlog.svg"] = _backlog(kept["backlog"])
    if "scale" in kept:
        drawn["dispatch_rounds.svg"] = _rounds(kept["scale"])
    return drawn


def _door(door: Figures) -> str:
    rows = door["cases"][door["headline"]]["contestants"]
    of_doors = [
        Bar(label=name.replace("_", " "), value=rows[name]["answers_per_second"]) for name in DOORS if name in rows
    ]
    return bars(f"Answers a second, 32 connections, {_load(door)}", "", of_doors)


def _record(record: Figures) -> str:
    rows = [
        Bar(label=f"{case.replace('_', ' ')}, {name.replace('_', ' ')}", value=row["events_per_second"])
        for case, found in record["cases"].items()
        for name, row in found["contestants"].items()
        if name != PROFILED
    ]
    return bars(f"Events recorded a second, {_load(record)}", "", rows)


def _memory(flow: Figures) -> str:
    over_time = flow["memory_over_time"]
    values = {kind: over_time[kind] for kind in KINDS}
    return lines(f"Memory of each kind of process, {_load(flow)}", "MB", over_time["seconds"], values)


def _backlog(backlog: Figures) -> str:
    tenths = backlog["tenths"]
    title = f"Changes a second while {backlog['webhooks']:,} webhooks are worked off, {_load(backlog)}"
    return lines(title, "/s", tenths["until_seconds"], {"changes a second": tenths["changes_per_second"]})


def _rounds(scale: Figures) -> str:
    rounds = scale["dispatch_rounds"]
    rows = [Bar(label=f"{each['due']:,} due tasks", value=each["median_ms"], limit=50.0) for each in rounds]
    return bars(f"One dispatch round over {rounds[0]['tenants']:,} tenants, {_load(scale)}", "ms", rows)


def _latencies(flow: Figures, what: str) -> Iterator[Bar]:
    for rate, figures in flow["rates"].items():
        for share in ("p50", "p95", "p99"):
            promised = PROMISED[what] if share == "p99" and rate == PROMISED_RATE else None
            label = f"{rate} a second, {share}"
            yield Bar(label=label, value=figures[f"{what}_{share}_ms"], limit=promised)


def _load(figures: Figures) -> str:
    found = figures["machine"]
    return f"load average {found['load_average'][0]} to {found['load_average_after'][0]} on {found['cores']} cores"
