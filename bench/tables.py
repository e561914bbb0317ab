"""What docs/performance.md shows of the kept results, so that no figure is written by hand. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.markdown import spread, table
from bench.promises import judged
from bench.record.figures import PROFILED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.benchmark import Figures

PEERS = ("ceiling", "textbook", "fastapi_arq", "express_bullmq")


def tables(kept: Mapping[str, Figures]) -> dict[str, str]:
    """Every table by its name, of the results there are."""
    return {name: make(kept[of]) for name, (of, make) in TABLES.items() if of in kept} | {"promises": _promises(kept)}


def _promises(kept: Mapping[str, Figures]) -> str:
    return table(
        ["measured by", "what", "promised", "measured", "kept"],
        (
            [
                f"`./run bench {name}`",
                each["what"],
                each["promised"],
                each["measured"],
                "yes" if each["kept"] else "**no**",
            ]
            for name, figures in kept.items()
            for each in judged(figures)
        ),
    )


def _machine(figures: Figures) -> str:
    on = figures["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in {**on["packages"], **on["peers"]}.items())
    return (
        f"{on['cores']} cores of an {on['cpu']}, {on['memory_gb']} GB, {on['kernel']}, Python {on['python']},"
        f" Node.js {on['node'].removeprefix('v')}; {packages}."
    )


def _door(figures: Figures) -> str:
    case = figures["cases"][figures["headline"]]
    return table(
        [
            "32 connections, 2,400 bytes, `always`",
            "answers/s",
            "p50 / p99 ms",
            "CPU s/1,000",
            "MB",
            "ours to it",
            "load average",
        ],
        (
            [
                figures["titles"][name],
                row["answers_per_second"],
                f"{row['answers_p50_ms']:g} / {row['answers_p99_ms']:g}",
                row["cpu_seconds_per_1000"],
                row["memory_mb"],
                case.get(f"ours_to_{name}_ratio", ""),
                spread(row["rounds_load_average"]),
            ]
            for name, row in case["contestants"].items()
        ),
    )


def _door_ratios(figures: Figures) -> str:
    def cells(case: Figures, peer: str) -> str:
        return f"{case[f'ours_to_{peer}_ratio']:g} ({case[f'{peer}_to_ours_cpu_ratio']:g})"

    return table(
        ["our rate to theirs (and CPU for an answer: theirs to ours)", *(figures["titles"][peer] for peer in PEERS)],
        ([name.replace("_", " "), *(cells(case, peer) for peer in PEERS)] for name, case in figures["cases"].items()),
    )


def _door_open(figures: Figures) -> str:
    cases = [case for name, case in figures["cases"].items() if name.startswith("open")]
    return table(
        ["at a fixed 300 a second", "p50 ms", "p99 ms", "CPU s/1,000"],
        (
            [figures["titles"][name], row["answers_p50_ms"], row["answers_p99_ms"], row["cpu_seconds_per_1000"]]
            for case in cases
            for name, row in case["contestants"].items()
        ),
    )


def _record(figures: Figures) -> str:
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


def _flow_rates(figures: Figures) -> str:
    def three(row: Figures, what: str) -> str:
        return " / ".join(f"{row[f'{what}_{share}_ms']:g}" for share in ("p50", "p95", "p99"))

    return table(
        ["webhooks a second", "row p50 / p95 / p99 ms", "change p50 / p95 / p99 ms", "load average"],
        (
            [rate, three(row, "rows"), three(row, "action"), row["load_average"]]
            for rate, row in figures["rates"].items()
        ),
    )


def _flow_costs(figures: Figures) -> str:
    parts = ("web", "recorder", "worker", "sweeper", "postgres", "redis", "ours", "sandbox")
    costs = {f"{rate} a second": row["cpu_seconds_per_1000"] for rate, row in figures["rates"].items()}
    costs[f"a backlog of {figures['backlog']['tasks']:,} actions"] = figures["backlog"]["cpu_seconds_per_1000"]
    titles = ["CPU seconds for 1,000 events", *parts[:-2], "all of ours", "the small Front"]
    return table(titles, ([at, *(row[part] for part in parts)] for at, row in costs.items()))


def _flow_beside(figures: Figures) -> str:
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


def _scale(figures: Figures) -> str:
    inbox, users = figures["inbox"], figures["import"]
    rows = [
        (
            f"Redis for {inbox['deliveries']:,} deliveries of 2,400 random bytes",
            f"{inbox['redis_mb']:,} MB",
            f"{inbox['redis_to_body_bytes_ratio']} bytes for a byte of body",
        ),
        *(
            (
                f"one dispatch round over {each['tenants']:,} tenants, {each['due']:,} due",
                f"{each['best_ms']} ms best",
                f"{each['median_ms']} ms median of 21",
            )
            for each in figures["dispatch_rounds"]
        ),
        *(
            (
                f"one look for stranded actions, {each['waiting']:,} waiting",
                f"{each['best_ms']} ms best",
                f"{each['median_ms']} ms median of 21",
            )
            for each in figures["stranded_looks"]
        ),
        (
            f"`mailroom user import` of {users['users']:,} users with {users['addresses']:,} addresses",
            f"{users['users_per_second']:,} users/s",
            f"{users['memory_mb']} MB in the command",
        ),
    ]
    return table(["what", "measured", ""], rows)


TABLES: dict[str, tuple[str, Callable[[Figures], str]]] = {
    "machine": ("door", _machine),
    "door": ("door", _door),
    "door_ratios": ("door", _door_ratios),
    "door_open": ("door", _door_open),
    "record": ("record", _record),
    "flow_rates": ("flow", _flow_rates),
    "flow_costs": ("flow", _flow_costs),
    "flow_beside": ("flow", _flow_beside),
    "scale": ("scale", _scale),
}
