"""`python -m bench.plots`: draws the newest of each kept result again, into docs/measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.drawn import Bar, bars
from bench.kept import FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.benchmark import Figures

#: What was promised at 50 webhooks a second: design targets in milliseconds.
PROMISED = {"rows": 100.0, "action": 1000.0}
PROMISED_RATE = "50"


def drawings(lines: Iterable[str]) -> dict[str, str]:
    """Every drawing by its file's name."""
    kept: dict[str, Figures] = {figures["name"]: figures for figures in map(json.loads, lines)}
    drawn = {}
    if "flow" in kept:
        for what in PROMISED:
            title = f"From the webhook to the {'row' if what == 'rows' else 'change at Front'}, {_load(kept['flow'])}"
            drawn[f"flow_{what}.svg"] = bars(title, "ms", list(_latencies(kept["flow"], what)))
    if "scale" in kept:
        rounds = kept["scale"]["dispatch_rounds"]
        rows = [Bar(label=f"{each['due']:,} due tasks", value=each["median_ms"], limit=50.0) for each in rounds]
        title = f"One dispatch round over {rounds[0]['tenants']:,} tenants, {_load(kept['scale'])}"
        drawn["dispatch_rounds.svg"] = bars(title, "ms", rows)
    return drawn


def _latencies(flow: Figures, what: str) -> Iterator[Bar]:
    for rate, figures in flow["rates"].items():
        for share in ("p50", "p95", "p99"):
            promised = PROMISED[what] if share == "p99" and rate == PROMISED_RATE else None
            label = f"{rate} a second, {share}"
            yield Bar(label=label, value=figures[f"{what}_{share}_ms"], limit=promised)


def _load(figures: Figures) -> str:
    found = figures["machine"]
    return f"load average {found['load_average'][0]} to {found['load_average_after'][0]} on {found['cores']} cores"


def draw() -> None:
    """Write all of them."""
    for name, drawing in drawings(FILE.read_text(encoding="utf-8").splitlines()).items():
        (FILE.parent / name).write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    draw()
