"""What rounds of recording say together, and what is recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.record.figures import OURS, TASK_EACH, dearer, ratios, summed_up
from bench.record.round import Round
from bench.record.webhooks import deliveries
from shared.front.envelope import parse_envelope


def a_round(per_second: float, *, own: float = 1.0, postgres: float = 1.0, unrecorded: int = 0) -> Round:
    return Round(
        webhooks=100,
        unrecorded=unrecorded,
        seconds=100 / per_second,
        cpu_seconds=own,
        postgres_cpu_seconds=postgres,
        load_average=1.0,
    )


def test_a_ratio_is_taken_between_neighbours_in_time() -> None:
    quiet, busy, busier = 1.0, 0.1, 0.01  # what else the machine does
    ours = [a_round(800 * share) for share in (quiet, busy, busier)]
    tasks = [a_round(100 * share, own=5.0) for share in (quiet, busy, busier)]
    found = ratios({OURS: ours, TASK_EACH: tasks})
    assert found == {"ours_to_task_each_ratio": 8.0, "task_each_to_ours_cpu_ratio": 3.0}


def test_cpu_is_told_apart_and_in_all() -> None:
    summary = summed_up([a_round(10, own=0.03, postgres=0.02, unrecorded=1), a_round(10, own=0.03, postgres=0.02)])
    told = [summary[f"{name}cpu_us_per_event"] for name in ("own_", "postgres_", "")]
    assert (told, summary["unrecorded"]) == ([300.0, 200.0, 500.0], 1)


def test_how_much_dearer_a_case_is_counts_all_cpu() -> None:
    filled = {"filled": {OURS: [a_round(10, own=1.0, postgres=1.6)]}}
    assert dearer({OURS: [a_round(10)]}, filled) == {"filled_cpu_ratio": 1.3}


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    return [each.body for each in deliveries(200, addresses=10_000, seed=1)]


def test_bodies_are_as_long_as_fronts(bodies: list[bytes]) -> None:
    assert min(map(len, bodies)) >= 2_400
    assert max(map(len, bodies)) <= 4_200


def test_each_body_is_an_event_of_its_own_with_five_recipients_and_a_file(bodies: list[bytes]) -> None:
    read = [parse_envelope(body) for body in bodies]
    assert len({each.front_id for each in read}) == len(bodies)
    assert {_parts(each.message) for each in read} == {(5, 1)}


def test_another_round_brings_other_events(bodies: list[bytes]) -> None:
    known = {_event_id(body) for body in bodies}
    assert not known & {_event_id(each.body) for each in deliveries(200, addresses=10_000, seed=2)}


def _parts(message: Any) -> tuple[int, int]:
    return len(message.recipients), len(message.attachments)


def _event_id(body: bytes) -> str:
    return str(json.loads(body)["payload"]["id"])
