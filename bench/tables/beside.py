"""The same work by others, as tables. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.door.figures import OURS
from bench.markdown import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.benchmark import Figures


def times(figures: Figures) -> str:
    """How long a change takes, at each rate."""
    return table(
        ["webhooks a second", "who", "change p50 / p95 / p99 ms", "CPU s/1,000", "lost", "double", "load average"],
        (
            [
                name.split("_")[1],
                who,
                " / ".join(f"{row[f'action_{share}_ms']:g}" for share in ("p50", "p95", "p99")),
                row["cpu_seconds_per_1000"],
                row["lost"],
                row["double"],
                row["load_average"],
            ]
            for name in figures["beside"]
            if name.startswith("steady")
            for who, row in _rows(figures, name)
        ),
    )


def backlog(figures: Figures) -> str:
    """How fast what waits is worked off."""
    return table(
        ["a backlog of webhooks", "who", "changes a second", "seconds until the last", "MB", "lost", "double"],
        (
            [
                row["webhooks"],
                who,
                row["changes_per_second"],
                row["drain_seconds"],
                row["memory_mb"],
                row["lost"],
                row["double"],
            ]
            for who, row in _rows(figures, "backlog")
        ),
    )


def troubled(figures: Figures) -> str:
    """What is lost or done twice under trouble."""
    return table(
        ["webhooks", "who", "processes killed", "lost", "double", "s from the last webhook to the last change"],
        (
            [
                row["webhooks"],
                who,
                row["kills"],
                row["lost"],
                row["double"],
                row["last_change_after_last_webhook_seconds"],
            ]
            for who, row in _rows(figures, "troubled")
        ),
    )


def _rows(figures: Figures, trial: str) -> Iterator[tuple[str, Figures]]:
    for name, row in figures["beside"][trial]["contestants"].items():
        yield "Mailroom" if name == OURS else figures["titles"][name], row
