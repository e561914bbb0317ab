"""The way from the webhook to the change, as tables. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.markdown import table

if TYPE_CHECKING:
    from bench.benchmark import Figures


def latencies(figures: Figures) -> str:
    """Times to the row and to the change."""

    def three(row: Figures, what: str) -> str:
        return " / ".join(f"{row[f'{what}_{share}_ms']:g}" for share in ("p50", "p95", "p99"))

    return table(
        ["webhooks a second", "row p50 / p95 / p99 ms", "change p50 / p95 / p99 ms", "load average"],
        (
            [rate, three(row, "rows"), three(row, "action"), row["load_average"]]
            for rate, row in figures["rates"].items()
        ),
    )


def costs(figures: Figures) -> str:
    """CPU by kind of process."""
    parts = ("web", "recorder", "worker", "sweeper", "postgres", "redis", "ours", "sandbox")
    costs = {f"{rate} a second": row["cpu_seconds_per_1000"] for rate, row in figures["rates"].items()}
    costs[f"a backlog of {figures['backlog']['tasks']:,} actions"] = figures["backlog"]["cpu_seconds_per_1000"]
    titles = ["CPU seconds for 1,000 events", *parts[:-2], "all of ours", "the small Front"]
    return table(titles, ([at, *(row[part] for part in parts)] for at, row in costs.items()))


def waiting(figures: Figures) -> str:
    """Backlogs, and tenants beside each other."""
    backlog, noisy, crowd = figures["backlog"], figures["noisy_tenant"], figures["many_backlogs"]
    rows: list[tuple[Any, ...]] = [
        (
            f"a backlog of {backlog['tasks']:,}: tasks a second, calls a second",
            backlog["tasks_per_second"],
            backlog["calls_per_second"],
        ),
        (
            "MB of that worker: first half, all of it",
            backlog["worker_memory_first_half_mb"],
            backlog["worker_memory_mb"],
        ),
        (
            f"one tenant has {noisy['waiting']:,} waiting, another's event: median, slowest, ms",
            noisy["event_p50_ms"],
            noisy["event_slowest_ms"],
        ),
        (
            f"{crowd['tenants'] - 5:,} tenants have {crowd['waiting']:,} waiting, another's event: median, slowest, ms",
            crowd["event_p50_ms"],
            crowd["event_slowest_ms"],
        ),
        (
            "calls in a minute of one company at most: limit, measured",
            noisy["budget"],
            max(noisy["most_calls_a_minute"], crowd["most_calls_a_minute"]),
        ),
        ("calls that Front refused for its limit", "", noisy["refused"] + crowd["refused"]),
    ]
    return table(["what", "", "measured"], rows)


def files(figures: Figures) -> str:
    """Large files that are stored at the same time."""
    return table(
        ["files of Front's", "at once", "MB of the worker: before", "at most", "MB/s", "not as Front has them"],
        (
            [
                f"{row['files']} of {row['file_mb']} MB, {how}",
                row["most_at_once"],
                row["memory_before_mb"],
                row["memory_mb"],
                row["mb_per_second"],
                row["wrong"],
            ]
            for how, row in (
                ("slowly, all together", figures["downloads"]["slow"]),
                ("as fast as it goes", figures["downloads"]["fast"]),
            )
        ),
    )
