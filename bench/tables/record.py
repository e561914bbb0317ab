"""The recorder, as tables. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.markdown import spread, table
from bench.record.figures import PROFILED

if TYPE_CHECKING:
    from bench.benchmark import Figures


def drained(figures: Figures) -> str:
    """Every case and way."""
    return table(
        ["addresses, stored events", "", "events/s", "CPU us an event: own", "PostgreSQL", "load average"],
        (
            [
                " ".join(case.split("_")),
                name.replace("_", " "),
                row["events_per_second"],
                row["own_cpu_us_per_event"],
                row["postgres_cpu_us_per_event"],
                spread(row["rounds_load_average"]),
            ]
            for case, found in figures["cases"].items()
            for name, row in found["contestants"].items()
            if name != PROFILED
        ),
    )


def shares(figures: Figures) -> str:
    """What the recorder's own CPU goes to; the profiler makes what calls much look larger."""
    parts = figures["shares_of_own_cpu"]
    return table(
        ["of the recorder's own CPU", *(part.replace("_", " ") for part in parts)],
        [["as the profiler saw it", *(f"{share:.0%}" for share in parts.values())]],
    )
