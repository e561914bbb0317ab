"""What docs/performance.md shows of the kept results, so that no figure is written by hand. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.tables import backlog, beside, door, flow, limits, record, scale, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.benchmark import Figures

#: How each is made, and of which results.
TABLES: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
    "machine": (whole.machine, ("door",)),
    "door": (door.headline, ("door",)),
    "door_ratios": (door.ratios, ("door",)),
    "door_open": (door.at_a_fixed_rate, ("door",)),
    "record": (record.drained, ("record",)),
    "stored": (record.drained, ("stored",)),
    "record_shares": (record.shares, ("record",)),
    "flow_rates": (flow.latencies, ("flow",)),
    "flow_costs": (flow.costs, ("flow",)),
    "flow_waiting": (flow.waiting, ("flow",)),
    "flow_files": (flow.files, ("flow",)),
    "backlog": (backlog.drained, ("backlog",)),
    "backlog_tenths": (backlog.tenths, ("backlog",)),
    "backlog_processes": (backlog.processes, ("backlog",)),
    "beside_times": (beside.times, ("flow",)),
    "beside_backlog": (beside.backlog, ("flow",)),
    "beside_troubled": (beside.troubled, ("flow",)),
    "scale": (scale.much, ("scale",)),
    "limits": (limits.limits, ("flow", "record", "scale")),
}


def tables(kept: Mapping[str, Figures]) -> dict[str, str]:
    """Every table by its name, of the results there are."""
    made = {
        name: make(*(kept[each] for each in needed))
        for name, (make, needed) in TABLES.items()
        if kept.keys() >= set(needed)
    }
    return made | {"promises": whole.promises(kept)}
