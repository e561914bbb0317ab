"""The results that are kept in docs/measured, and the one table that shows them, on the terminal and in the docs.

`python -m bench.results` writes the newest kept results into docs/performance.md and docs/reliability.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.harness.benchmark import Figures

DOCS = Path(__file__).parents[1] / "docs"
BENCH_FILE, BENCH_PAGE = DOCS / "measured" / "bench.jsonl", DOCS / "performance.md"
FAULTS_FILE, FAULTS_PAGE = DOCS / "measured" / "faults.jsonl", DOCS / "reliability.md"

PEERS = {"textbook": "textbook", "fastapi_arq": "FastAPI + arq", "express_bullmq": "Express + BullMQ"}
DOORS = {**PEERS, "ceiling": "empty view"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table. `path` leads to the figure in the result of the benchmark `of`.

    `beside` leads to the figures of others by their names. If the figure is a ratio, `beside` is the other's name.
    """

    of: str
    figure: str
    path: str
    at_least: float | None = None
    at_most: float | None = None
    beside: Mapping[str, str] | str = field(default_factory=dict)

    @property
    def promised(self) -> str:
        """The bound in words; empty without one."""
        if self.at_least is not None:
            return f"at least {self.at_least:,g}"
        return "" if self.at_most is None else f"at most {self.at_most:,g}"

    def is_met_by(self, measured: float) -> bool:
        """Tell whether a figure is within the bound."""
        above = self.at_least is None or measured >= self.at_least
        return above and (self.at_most is None or measured <= self.at_most)


def _each(path: str, names: Mapping[str, str]) -> dict[str, str]:
    """Return the path of each contestant's figure by its name; `*` in `path` stands for the contestant."""
    return {title: path.replace("*", name) for name, title in names.items()}


def _of_ours(path: str, names: Mapping[str, str]) -> dict[str, Any]:
    return {"path": path.replace("*", "ours"), "beside": _each(path, names)}


def _door(case: str, figure: str = "answers_per_second") -> dict[str, Any]:
    return _of_ours(f"cases.{case}.contestants.*.{figure}", DOORS)


def _flow(trial: str, figure: str) -> dict[str, Any]:
    return _of_ours(f"beside.{trial}.contestants.*.{figure}", PEERS)


USUAL = "closed_2400_bytes_32_connections_always"
EMPTY = "cases.1000000_addresses_0_stored.contestants.*"
TASK_EACH = {"task_each": "a Celery task each"}
SENDERS = {"textbook": "a Celery task each"}
NOTIFIED = (
    ("notifications a second, one host", 1, "per_second"),
    ("notifications a second, four hosts", 4, "per_second"),
    ("CPU ms a notification, one host", 1, "cpu_seconds_per_1000"),
    ("ms from the row to the 2xx at 20 a second, median", 1, "at_20.latency_p50_ms"),
    ("ms from the row to the 2xx at 20 a second, p99", 1, "at_20.latency_p99_ms"),
    ("ms from the row to the 2xx at 50 a second, median", 1, "at_50.latency_p50_ms"),
    ("ms from the row to the 2xx at 50 a second, p99", 1, "at_50.latency_p99_ms"),
)

ROWS = (
    Row(
        of="door", figure="answers, ratio to the textbook", path="ours_to_textbook_ratio", at_least=4, beside="textbook"
    ),
    Row(
        of="door",
        figure="answers, ratio to Express + BullMQ",
        path="ours_to_express_bullmq_ratio",
        at_least=1,
        beside="Express + BullMQ",
    ),
    Row(
        of="door",
        figure="answers, ratio to an empty view",
        path="ours_to_ceiling_ratio",
        at_least=0.5,
        beside="empty view",
    ),
    Row(of="door", figure="answers a second", **_door(USUAL)),
    Row(of="door", figure="ms to an answer, p99", **_door(USUAL, "answers_p99_ms")),
    Row(of="door", figure="CPU ms an answer", **_door(USUAL, "cpu_seconds_per_1000")),
    Row(of="door", figure="MB of its processes", **_door(USUAL, "memory_mb")),
    Row(of="door", figure="answers a second, 1 connection", **_door("closed_2400_bytes_1_connections_always")),
    Row(of="door", figure="answers a second, 256 connections", **_door("closed_2400_bytes_256_connections_always")),
    Row(of="door", figure="answers a second, 60 kB bodies", **_door("closed_60000_bytes_32_connections_always")),
    Row(
        of="door",
        figure="ms to an answer, p99 at 300 a second",
        **_door("open_300_a_second_2400_bytes_32_connections_always", "answers_p99_ms"),
    ),
    Row(
        of="record",
        figure="events a second into an empty database",
        path="ours_per_second",
        at_least=5_000,
        beside=_each(f"{EMPTY}.events_per_second", TASK_EACH),
    ),
    Row(of="record", figure="CPU us an event, with PostgreSQL's", **_of_ours(f"{EMPTY}.cpu_us_per_event", TASK_EACH)),
    Row(
        of="record",
        figure="events a second over 1,000,000 stored ones",
        path="cases.1000000_addresses_1000000_stored.contestants.ours.events_per_second",
    ),
    Row(
        of="stored",
        figure="CPU an event over 5,000,000 stored ones, ratio",
        path="5000000_stored_to_none_cpu_ratio",
        at_most=1.3,
        beside="an empty database",
    ),
    Row(
        of="stored",
        figure="events a second over 5,000,000 stored ones",
        path="cases.1000000_addresses_5000000_stored.contestants.ours.events_per_second",
        beside={"an empty database": EMPTY.replace("*", "ours") + ".events_per_second"},
    ),
    Row(of="flow", figure="ms to the row, p99 at 50 a second", path="rows_at_50_p99_ms", at_most=100),
    Row(of="flow", figure="ms to the change, p99 at 50 a second", path="action_at_50_p99_ms", at_most=1_000),
    Row(of="flow", figure="ms to the row, p99 at 10 a second", path="rows_at_10_p99_ms"),
    Row(of="flow", figure="ms to the change, p99 at 10 a second", path="action_at_10_p99_ms"),
    Row(of="flow", figure="ms to the row, p99 at 100 a second", path="rows_at_100_p99_ms"),
    Row(of="flow", figure="ms to the change, p99 at 100 a second", path="action_at_100_p99_ms"),
    Row(of="flow", figure="webhooks a second without a growing queue", path="highest_steady_per_second"),
    Row(of="flow", figure="CPU ms an event at 50 a second", path="rates.50.cpu_seconds_per_1000.ours"),
    Row(of="flow", figure="CPU ms an event at 125 a second", path="rates.125.cpu_seconds_per_1000.ours"),
    Row(of="flow", figure="calls a second of one worker, fresh events", path="calls_per_second", at_least=150),
    Row(of="flow", figure="MB of that worker", path="worker_memory_mb", at_most=120),
    Row(of="flow", figure="CPU ms a task of that worker", path="backlog.cpu_seconds_per_1000.worker"),
    Row(
        of="flow",
        figure="ms of the slowest event beside one tenant's backlog",
        path="noisy_tenant_event_slowest_ms",
        at_most=2_000,
    ),
    Row(
        of="flow",
        figure="ms of the slowest event beside 999 tenants' backlogs",
        path="many_backlogs_event_slowest_ms",
        at_most=2_000,
    ),
    Row(
        of="flow",
        figure="most calls of a company in a minute",
        path="noisy_tenant.most_calls_a_minute",
        beside={"Front's limit": "noisy_tenant.budget"},
    ),
    Row(of="flow", figure="MB of a worker storing 16 files of 25 MB", path="downloads_memory_mb", at_most=150),
    Row(of="flow", figure="MB of such files a second", path="downloads_mb_per_second"),
    Row(of="flow", figure="compared: changes a second of a backlog", **_flow("backlog", "changes_per_second")),
    Row(of="flow", figure="compared: MB behind the door", **_flow("backlog", "memory_mb")),
    Row(of="flow", figure="compared: ms to the change, median", **_flow("steady_50_a_second", "action_p50_ms")),
    Row(of="flow", figure="compared: ms to the change, p99", **_flow("steady_50_a_second", "action_p99_ms")),
    Row(of="flow", figure="compared: CPU ms an event", **_flow("steady_50_a_second", "cpu_seconds_per_1000")),
    Row(of="flow", figure="compared: events lost in trouble", **_flow("troubled", "lost")),
    Row(of="flow", figure="compared: changes made twice in trouble", **_flow("troubled", "double")),
    Row(of="backlog", figure="calls a second of one worker, older events", path="calls_per_second", at_least=150),
    Row(of="backlog", figure="MB of that worker", path="worker_memory_mb", at_most=120),
    Row(of="backlog", figure="webhooks in the intake at the start", path="webhooks"),
    Row(of="backlog", figure="seconds until the last is a row", path="drain_rows_seconds"),
    Row(of="backlog", figure="seconds until the last change", path="drain_seconds"),
    Row(of="backlog", figure="changes a second", path="changes_per_second"),
    Row(of="backlog", figure="events lost", path="lost"),
    Row(of="backlog", figure="changes made twice", path="double"),
    Row(of="backlog", figure="MB of Redis at most", path="redis_memory_mb"),
    *(
        Row(of="notify", figure=figure, **_of_ours(f"cases.{hosts}_endpoints.contestants.*.{path}", SENDERS))
        for figure, hosts, path in NOTIFIED
    ),
    Row(of="notify", figure="changes a second with an endpoint, ratio", path="front_work_ratio", beside="without"),
    Row(of="scale", figure="bytes of Redis for a byte of body", path="redis_to_body_bytes_ratio", at_most=1.3),
    Row(
        of="scale",
        figure="CPU an event with 1,000,000 waiting, ratio",
        path="deep_to_shallow_cpu_ratio",
        at_most=1.3,
        beside="the same events alone",
    ),
    Row(
        of="scale",
        figure="events a second with 1,000,000 waiting",
        path="deep_drained_per_second",
        beside={"the same events alone": "shallow_drained_per_second"},
    ),
    Row(of="scale", figure="ms of a dispatch round, median", path="dispatch_round_median_ms", at_most=50),
    Row(of="scale", figure="ms of a search for stranded actions, median", path="stranded_look_median_ms"),
    Row(of="scale", figure="users a second of `mailroom user import`", path="imported_users_per_second"),
    Row(of="scale", figure="MB of that command", path="import_memory_mb"),
    Row(
        of="console",
        figure="ms of the slowest screen, p95",
        path="slowest_screen_p95_ms",
        at_most=300,
    ),
    Row(
        of="console",
        figure="CPU of recording without the figures for people, ratio",
        path="recorder_ratio",
        at_least=0.97,
        beside="with them",
    ),
    Row(
        of="console",
        figure="CPU of recording with nobody looking, ratio",
        path="recorder_beside_consoles_ratio",
        beside="50 open consoles",
    ),
    Row(of="console", figure="ms of the Overview, p95", path="screens.overview.p95_ms"),
    Row(of="console", figure="ms of the failed tasks, p95", path="screens.tasks_failed.p95_ms"),
)
HEAD = ("benchmark", "figure", "measured", "promised", "kept", "beside")


def promises(figures: Figures) -> list[dict[str, Any]]:
    """Return the promised figures of this benchmark, as far as this run measured them."""
    return [
        {"what": row.figure, "promised": row.promised, "measured": measured, "kept": row.is_met_by(measured)}
        for row, measured in _measured(figures)
        if row.promised
    ]


def table(results: Iterable[Figures]) -> list[tuple[str, ...]]:
    """Return the head of the table and a line for each figure that was measured."""
    named = {figures["name"]: figures for figures in results}
    return [HEAD, *(line for name in named for line in _lines(named[name]))]


def _lines(figures: Figures) -> Iterator[tuple[str, ...]]:
    for row, measured in _measured(figures):
        kept = ("yes" if row.is_met_by(measured) else "**no**") if row.promised else ""
        yield row.of, row.figure, _number(measured), row.promised, kept, _beside(row, figures)


def _measured(figures: Figures) -> Iterator[tuple[Row, float]]:
    for row in ROWS:
        if row.of == figures["name"] and (measured := _find(figures, row.path)) is not None:
            yield row, measured


def _find(figures: Figures, path: str) -> Any:
    """Return the figure at this path, or None where the result has none."""
    found: Any = figures
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def _beside(row: Row, figures: Figures) -> str:
    if isinstance(row.beside, str):
        return row.beside
    found = {name: _find(figures, path) for name, path in row.beside.items()}
    return ", ".join(f"{name} {_number(value)}" for name, value in found.items() if value is not None)


def _number(value: float) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:g}"
    return f"{value:,}"


def aligned(lines: Sequence[tuple[str, ...]]) -> str:
    """Return the table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(lines: Sequence[tuple[str, ...]]) -> str:
    """Return the same table for a page."""
    head, *rows = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ("---",) * len(head), *rows))


def summary(figures: Figures) -> str:
    """Return one result for the terminal: the machine, the table, the peers left out, the violated guarantees."""
    on = figures["machine"]
    return "\n".join(
        [
            f"{figures['name']}: {on['cores']} cores, {on['cpu']}, load average {on['load_average'][0]}",
            aligned(table([figures])),
            *(f"{name}: {value:g}" for name, value in _other_ratios(figures)),
            *(f"left out: {name} ({why})" for name, why in figures.get("left_out", {}).items()),
            *(f"BROKEN: {problem}" for problem in figures["broken"]),
        ]
    )


def _other_ratios(figures: Figures) -> Iterator[tuple[str, float]]:
    """Yield the ratios that are in no line of the table, as those of the quick sizes."""
    shown = {row.path for row in ROWS if row.of == figures["name"]}
    return ((name, value) for name, value in figures.items() if name.endswith("_ratio") and name not in shown)


def keep(figures: Figures) -> None:
    """Add one result to the kept ones."""
    with BENCH_FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(figures) + "\n")


def newest(lines: str) -> list[Figures]:
    """Return the newest kept result of each benchmark, in the order of the table."""
    named = {figures["name"]: figures for figures in map(json.loads, lines.splitlines())}
    return [named[name] for name in dict.fromkeys(row.of for row in ROWS) if name in named]


def machines(results: Sequence[Figures]) -> str:
    """Return the machine and versions of the last result, and the load average before each benchmark."""
    on = results[-1]["machine"]
    loads = ", ".join(f"{each['name']} {each['machine']['load_average'][0]}" for each in results)
    return (
        f"{on['cores']} cores of an {on['cpu']}, {on['memory_gb']} GB, {on['kernel']}, Python {on['python']};"
        f" {_versions(on['packages'])}.\nThe others: {_versions(on['peers'])}, Node.js {on['node'].removeprefix('v')}."
        f"\nLoad average before each benchmark: {loads}."
    )


def _versions(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items())


FAULTS_HEAD = (
    *("fault", "sent", "faults", "lost", "double", "ghost", "wrong token"),
    *("drained in", "longest gap", "door under 2 s", "besides"),
)


def faults_table(results: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return a head and a line for each result of the fault suite; a violated guarantee is in its line."""
    return [FAULTS_HEAD, *map(_fault_line, results)]


def _fault_line(result: Mapping[str, Any]) -> tuple[str, ...]:
    broken = (f"**broken: {promise}**" for promise in result["broken"])
    return (
        f"`{result['name']}`",
        *(f"{result[count]:,}" for count in ("load", "injected", "lost", "double", "ghost", "wrong_token")),
        *(_seconds(result[seconds]) for seconds in ("drain_seconds", "longest_gap_seconds")),
        "" if result["door_under_2s"] is None else f"{result['door_under_2s']:.2%}",
        "; ".join([result["note"], *broken]).strip("; "),
    )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def filled(page: str, mark: str, text: str) -> str:
    """Return the page with the text between `<!-- mark -->` and `<!-- /mark -->`. Raises ValueError without them."""
    place = re.compile(f"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    page, count = place.subn(lambda found: f"{found[1]}{text}\n{found[2]}", page)
    if count != 1:
        raise ValueError(f"the page has {count} places for {mark}")
    return page


def pages() -> dict[Path, str]:
    """Return both pages with the kept results in their tables."""
    results = newest(BENCH_FILE.read_text(encoding="utf-8"))
    faults = map(json.loads, FAULTS_FILE.read_text(encoding="utf-8").splitlines())
    performance = filled(BENCH_PAGE.read_text(encoding="utf-8"), "machine", machines(results))
    return {
        BENCH_PAGE: filled(performance, "results", markdown(table(results))),
        FAULTS_PAGE: filled(FAULTS_PAGE.read_text(encoding="utf-8"), "faults", markdown(faults_table(faults))),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
