"""Very many webhooks that waited, as tables. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.backlog.looks import KINDS
from bench.markdown import table

if TYPE_CHECKING:
    from bench.benchmark import Figures


def drained(figures: Figures) -> str:
    """How long it took, and how fast it went."""
    return table(
        ["what", "measured"],
        [
            ("webhooks in the intake", figures["webhooks"]),
            ("s until the last is a row", figures["drain_rows_seconds"]),
            ("s until the last change at Front", figures["drain_seconds"]),
            ("changes a second", figures["changes_per_second"]),
            ("calls of Front's API a second", figures["calls_per_second"]),
            ("calls for a change", round(figures["calls"] / max(1, figures["changes"]), 2)),
            ("lost, double", f"{figures['lost']}, {figures['double']}"),
            ("load average", figures["load_average"]),
        ],
    )


def tenths(figures: Figures) -> str:
    """Whether it got slower."""
    found = figures["tenths"]
    return table(
        ["tenth of the changes", *range(1, len(found["until_seconds"]) + 1)],
        [["over after s", *found["until_seconds"]], ["changes a second", *found["changes_per_second"]]],
    )


def processes(figures: Figures) -> str:
    """Memory and CPU by kind of process."""
    used = figures["cpu_seconds_per_1000"]
    ours = [
        (kind, figures[f"{kind}_memory_first_tenth_mb"], figures[f"{kind}_memory_mb"], used[kind]) for kind in KINDS
    ]
    return table(
        ["", "MB at most in the first tenth of the time", "MB at most", "CPU s for 1,000 events"],
        [
            *ours,
            ("postgres", "", "", used["postgres"]),
            ("redis", "", figures["redis_memory_mb"], used["redis"]),
            ("all of ours", "", "", used["ours"]),
        ],
    )
