"""The results table has promises, measured figures and those of peers, on the terminal and on pages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.catalogue import catalogue, machine
from bench.results import (
    BENCH_FILE,
    ROWS,
    aligned,
    faults_table,
    filled,
    markdown,
    newest,
    pages,
    promises,
    summary,
    table,
)

AGAIN = "python -m bench.results writes it anew"


def a_result(**figures: Any) -> dict[str, Any]:
    return {"name": "door", "broken": [], "machine": machine(), **figures}


def a_fault(**figures: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("lost", "double", "ghost", "wrong_token"), 0)
    seconds = dict.fromkeys(("drain_seconds", "longest_gap_seconds", "door_under_2s"))
    return {"name": "x", "load": 12_000, "injected": 41, **counts, **seconds, "note": "", "broken": [], **figures}


@pytest.mark.parametrize(
    ("figures", "kept"),
    [
        ({"name": "door", "ours_to_textbook_ratio": 4.0}, True),
        ({"name": "door", "ours_to_textbook_ratio": 3.99}, False),
        ({"name": "flow", "worker_memory_mb": 120.0}, True),
        ({"name": "flow", "worker_memory_mb": 120.1}, False),
    ],
)
def test_a_promise_is_kept_up_to_its_bound(figures: dict[str, Any], kept: bool) -> None:
    [promise] = promises(figures)
    assert promise["kept"] is kept


def test_the_door_promises_three_ratios_of_one_run() -> None:
    bounds = {row.path: row.at_least for row in ROWS if row.of == "door" and row.promised}
    assert bounds == {"ours_to_textbook_ratio": 4, "ours_to_express_bullmq_ratio": 1, "ours_to_ceiling_ratio": 0.5}


@pytest.mark.parametrize("figures", [{"name": "door"}, {"name": "scale", "ours_to_textbook_ratio": 5.0}])
def test_an_unmeasured_figure_has_no_line(figures: dict[str, Any]) -> None:
    assert promises(figures) == []
    assert len(table([figures])) == 1


def test_every_row_belongs_to_a_benchmark_and_has_one_bound_at_most() -> None:
    without_a_full_run = {"limit"}  # it takes three quarters of an hour; docs/performance.md has its single cases
    assert {row.of for row in ROWS} == catalogue().keys() - without_a_full_run
    assert all(row.at_least is None or row.at_most is None for row in ROWS)


def test_every_row_finds_its_figure_in_the_kept_results() -> None:
    results = newest(BENCH_FILE.read_text(encoding="utf-8"))
    assert len(table(results)) == len(ROWS) + 1


def test_a_line_has_the_figure_its_promise_and_the_figures_of_others() -> None:
    others = {"ours": {"events_per_second": 4999.6}, "task_each": {"events_per_second": 175.2}}
    result = a_result(
        name="record", ours_per_second=4999.6, cases={"1000000_addresses_0_stored": {"contestants": others}}
    )
    [_, line] = table([result])
    assert line[1:] == (
        *("events a second into an empty database", "5,000", "at least 5,000", "**no**"),
        "a Celery task each 175.2",
    )


def test_the_table_has_the_same_cells_on_the_terminal_and_on_the_page() -> None:
    lines = [("a", "b"), ("x", "1,235"), ("long", "")]
    assert aligned(lines) == "a     b\nx     1,235\nlong"
    assert markdown(lines) == "| a | b |\n| --- | --- |\n| x | 1,235 |\n| long |  |"


def test_the_terminal_shows_ratios_violations_and_the_peers_left_out() -> None:
    problem = "ours: 1 accepted and not in the queue"
    left_out = {"express_bullmq": "no Node.js with npm here"}
    text = summary(a_result(ours_to_textbook_ratio=4.2, broken=[problem], left_out=left_out))
    assert "4.2       at least 4  yes   textbook" in text
    assert f"BROKEN: {problem}" in text
    assert "left out: express_bullmq (no Node.js with npm here)" in text


def test_the_terminal_shows_a_ratio_without_a_line() -> None:
    assert "100000_stored_to_none_cpu_ratio: 1.17" in summary(
        a_result(name="stored", **{"100000_stored_to_none_cpu_ratio": 1.17})
    )


def test_the_newest_result_counts() -> None:
    [door, flow] = newest('{"name": "door", "at": 1}\n{"name": "flow"}\n{"name": "door", "at": 2}\n')
    assert (door["at"], flow["name"]) == (2, "flow")


def test_text_around_the_table_is_kept() -> None:
    page = "before\n<!-- x -->\nold\n<!-- /x -->\nafter"
    assert filled(page, "x", "new") == "before\n<!-- x -->\nnew\n<!-- /x -->\nafter"


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places"):
        filled("nothing", "x", "new")


def test_a_fault_is_a_line_with_all_its_figures() -> None:
    result = a_fault(drain_seconds=3.0, door_under_2s=1.0, note="restarts: none")
    line = markdown(faults_table([result])).splitlines()[-1]
    assert line == "| `x` | 12,000 | 41 | 0 | 0 | 0 | 0 | 3.0 s |  | 100.00% | restarts: none |"


def test_a_broken_promise_is_in_the_line_of_its_fault() -> None:
    assert "**broken: 2 lost**" in markdown(faults_table([a_fault(lost=2, broken=["2 lost"])]))


def test_the_pages_show_the_kept_results() -> None:
    for page, text in pages().items():
        assert page.read_text(encoding="utf-8") == text, AGAIN


def test_kept_results_are_one_object_a_line() -> None:
    assert all(json.loads(line)["name"] in catalogue() for line in BENCH_FILE.read_text(encoding="utf-8").splitlines())
