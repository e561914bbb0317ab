"""The door beside others, as tables. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.markdown import spread, table

if TYPE_CHECKING:
    from bench.benchmark import Figures


PEERS = ("ceiling", "textbook", "fastapi_arq", "express_bullmq")


def headline(figures: Figures) -> str:
    """The case that promises are about."""
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


def ratios(figures: Figures) -> str:
    """Ours to each other, in every case."""

    def cells(case: Figures, peer: str) -> str:
        return f"{case[f'ours_to_{peer}_ratio']:g} ({case[f'{peer}_to_ours_cpu_ratio']:g})"

    return table(
        ["our rate to theirs (and CPU for an answer: theirs to ours)", *(figures["titles"][peer] for peer in PEERS)],
        ([name.replace("_", " "), *(cells(case, peer) for peer in PEERS)] for name, case in figures["cases"].items()),
    )


def at_a_fixed_rate(figures: Figures) -> str:
    """Times at a rate that all keep up with."""
    cases = [case for name, case in figures["cases"].items() if name.startswith("open")]
    return table(
        ["at a fixed 300 a second", "p50 ms", "p99 ms", "CPU s/1,000"],
        (
            [figures["titles"][name], row["answers_p50_ms"], row["answers_p99_ms"], row["cpu_seconds_per_1000"]]
            for case in cases
            for name, row in case["contestants"].items()
        ),
    )
