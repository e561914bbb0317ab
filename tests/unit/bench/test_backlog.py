"""What is said of very many webhooks that waited."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from bench.backlog.benchmark import broken
from bench.backlog.figures import highest_memory, tenths
from bench.backlog.looks import Look
from bench.flow.sending import first_changes
from bench.plots import drawings
from bench.tables import tables

NOTHING_FAILED = {"lost": 0, "double": 0, "ghost": 0, "wrong_token": 0}


def a_look(at: float, **memory: float) -> Look:
    return Look(at=at, took=0.002, memory=memory, load_average=1.0, is_open=True)


def a_result() -> dict[str, Any]:
    """With other figures for each kind, so that none can stand in another's place."""
    memory = {"recorder": (71.0, 72.0), "worker": (81.0, 82.0), "sweeper": (61.0, 62.0)}
    kinds = ("web", *memory, "postgres", "redis", "ours", "sandbox")
    return {
        "name": "backlog",
        "webhooks": 100_000,
        "drain_rows_seconds": 60.5,
        "drain_seconds": 1300.25,
        "changes_per_second": 77.5,
        "calls_per_second": 155.0,
        **{f"{kind}_memory_first_tenth_mb": first for kind, (first, _) in memory.items()},
        **{f"{kind}_memory_mb": most for kind, (_, most) in memory.items()},
        "redis_memory_mb": 280.5,
        "changes": 100_000,
        "calls": 299_000,
        **NOTHING_FAILED,
        "load_average": 3.5,
        "cpu_seconds_per_1000": {kind: float(place) for place, kind in enumerate(kinds)},
        "tenths": {
            "until_seconds": [130.0 * part for part in range(1, 11)],
            "changes_per_second": [50.0, *[80.0] * 9],
        },
        "machine": {"cores": 2, "load_average": [0.5], "load_average_after": [3.5]},
    }


def test_each_tenth_of_the_changes_has_its_rate_and_its_end() -> None:
    slow, fast = [100.0 + number for number in range(10)], [110.0 + number / 10 for number in range(90)]
    found = tenths([*fast, *slow], began=98.0)
    assert found["changes_per_second"] == [1.0, *[10.0] * 9]
    assert (found["until_seconds"][0], found["until_seconds"][-1]) == (12.0, 20.9)


@pytest.mark.parametrize("moments", [[], [5.0], [5.0, 5.0]])
def test_too_few_changes_have_no_rate(moments: list[float]) -> None:
    assert sum(tenths(moments, began=5.0)["changes_per_second"]) == 0.0


def test_memory_is_told_of_the_first_tenth_of_the_time_and_of_all() -> None:
    looks = [
        a_look(0.0, worker=30.0),
        a_look(10.0, worker=70.04),
        a_look(11.0, worker=90.0),
        a_look(100.0, worker=80.0),
    ]
    assert highest_memory(looks) == {"worker_memory_first_tenth_mb": 70.0, "worker_memory_mb": 90.0}


def test_a_conversation_counts_when_it_was_first_changed() -> None:
    read = {"at": 0.0, "method": "GET", "status": 200, "conversation": "cnv_1", "fault": None}
    change = {**read, "at": 1.0, "method": "PATCH", "status": 204}
    again = {**change, "at": 2.0}
    assert first_changes([read, change, again]) == {"cnv_1": pytest.approx(1.08)}


@pytest.mark.parametrize(
    ("verdict", "settled", "said"),
    [
        ({}, True, []),
        ({"lost": 2, "ghost": 1}, True, ["2 lost", "1 ghost"]),
        ({"double": 1}, False, ["1 double", "not all was done in time"]),
    ],
)
def test_what_must_never_be_is_said(verdict: dict[str, int], settled: bool, said: list[str]) -> None:
    assert broken(NOTHING_FAILED | verdict, settled=settled) == said


def test_the_tables_have_the_times_the_tenths_and_every_process() -> None:
    made = tables({"backlog": a_result()})
    assert "| s until the last change at Front | 1,300 |" in made["backlog"]
    assert "| calls for a change | 2.99 |" in made["backlog"]
    assert "| lost, double | 0, 0 |" in made["backlog"]
    assert made["backlog_tenths"].splitlines()[-1] == "| changes a second | 50 |" + " 80 |" * 9
    assert "| worker | 81 | 82 | 2 |" in made["backlog_processes"]
    assert "| redis |  | 280.5 | 5 |" in made["backlog_processes"]


def test_the_rate_of_each_tenth_is_drawn_where_it_ended() -> None:
    drawn = drawings({"backlog": a_result()})["backlog.svg"]
    [line] = ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}polyline")
    across, heights = zip(*(map(float, point.split(",")) for point in line.attrib["points"].split()), strict=True)
    assert (across[0], across[-1]) == pytest.approx((266.0, 590.0))
    assert heights[0] > heights[1] == heights[-1]
