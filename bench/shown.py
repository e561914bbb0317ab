"""A benchmark's result for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.promises import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.benchmark import Figures

#: A table has those that its rows have.
COLUMNS = (
    ("events_per_second", "events/s", 10),
    ("own_cpu_us_per_event", "own us", 9),
    ("postgres_cpu_us_per_event", "PostgreSQL us", 15),
    ("cpu_us_per_event", "CPU us/event", 14),
    ("unrecorded", "unrecorded", 12),
    ("answers_per_second", "answers/s", 10),
    ("answers_p50_ms", "p50 ms", 9),
    ("answers_p99_ms", "p99 ms", 9),
    ("action_p50_ms", "p50 ms", 9),
    ("action_p95_ms", "p95 ms", 9),
    ("action_p99_ms", "p99 ms", 9),
    ("drain_seconds", "drained s", 11),
    ("changes_per_second", "changes/s", 11),
    ("kills", "kills", 7),
    ("last_change_after_last_webhook_seconds", "last after s", 14),
    ("lost", "lost", 6),
    ("double", "double", 8),
    ("errors", "errors", 7),
    ("missing", "missing", 8),
    ("cpu_seconds_per_1000", "CPU s/1000", 11),
    ("memory_mb", "MB", 8),
    ("sender_cpu_share", "sender CPU", 11),
)


def shown(figures: Figures) -> str:
    """Ratios first, then a table for each case, then what was promised."""
    found = figures["machine"]
    where = f"{found['cores']} cores, {found['cpu']}, load average {found['load_average'][0]}"
    named = [f"{name}: {value}" for name, value in figures.items() if name.endswith(_endings(figures))]
    left_out = [f"left out: {name} ({why})" for name, why in figures.get("left_out", {}).items()]
    broken = [f"BROKEN: {what}" for what in figures["broken"]]
    tables = [line for name, case in _tables(figures).items() for line in _table(name, case["contestants"])]
    promises = told(figures.get("promises", ()))
    return "\n".join([f"{figures['name']}: {where}", *named, *tables, *promises, *left_out, *broken])


def _tables(figures: Figures) -> dict[str, Any]:
    """Where several are compared, by the name of what they did."""
    return {**figures.get("cases", {}), **figures.get("beside", {})}


def _endings(figures: Figures) -> tuple[str, ...]:
    """Which figures are told in a line each; with contestants rates and times are in the tables."""
    return ("_ratio",) if "cases" in figures else ("_ratio", "_per_second", "_ms", "_mb", "_seconds")


def _table(name: str, rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield ""
    yield name
    columns = [each for each in COLUMNS if all(each[0] in row for row in rows.values())]
    yield f"{'':<16}" + "".join(f"{title:>{width}}" for _, title, width in columns)
    for who, row in rows.items():
        yield f"{who:<16}" + "".join(f"{row[key]:>{width},}" for key, _, width in columns)
