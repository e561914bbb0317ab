"""The figures of the recording benchmark, and its webhooks."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from bench.harness.benchmark import OURS
from bench.harness.webhooks import deliveries, incompressible_deliveries
from bench.record.benchmark import TASK_EACH, cpu_ratios, ratios, summarize
from bench.record.full_intake import Moment, Stretch
from bench.record.rounds import Round
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
    quiet, busy, busier = 1.0, 0.1, 0.01  # other load on the machine
    ours = [a_round(800 * share) for share in (quiet, busy, busier)]
    tasks = [a_round(100 * share, own=5.0) for share in (quiet, busy, busier)]
    found = ratios({OURS: ours, TASK_EACH: tasks})
    assert found == {"ours_to_task_each_ratio": 8.0, "task_each_to_ours_cpu_ratio": 3.0}


def test_cpu_has_a_figure_for_each_part_and_for_both() -> None:
    summary = summarize([a_round(10, own=0.03, postgres=0.02, unrecorded=1), a_round(10, own=0.03, postgres=0.02)])
    found = [summary[f"{name}cpu_us_per_event"] for name in ("own_", "postgres_", "")]
    assert (found, summary["unrecorded"]) == ([300.0, 200.0, 500.0], 1)


def test_the_ratio_of_a_case_counts_all_cpu() -> None:
    filled = {"filled": {OURS: [a_round(10, own=1.0, postgres=1.6)]}}
    assert cpu_ratios({OURS: [a_round(10)]}, filled) == {"filled_cpu_ratio": 1.3}


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    return [each.body for each in deliveries(200, addresses=10_000, seed=1)]


def test_bodies_have_the_length_of_fronts(bodies: list[bytes]) -> None:
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


@pytest.fixture(scope="module")
def random_bodies() -> list[bytes]:
    return [each.body for each in incompressible_deliveries(50, addresses=10_000, seed=1)]


def test_incompressible_webhooks_have_fronts_form(random_bodies: list[bytes]) -> None:
    assert {len(parse_envelope(body).message.recipients) for body in random_bodies} == {5}  # type: ignore[union-attr]


def test_incompressible_text_hardly_shrinks(random_bodies: list[bytes]) -> None:
    texts = [json.loads(body)["payload"]["target"]["data"]["text"].encode() for body in random_bodies]
    assert min(len(zlib.compress(text)) / len(text) for text in texts) > 0.7


def test_a_stretch_is_measured_between_two_moments() -> None:
    begun = Moment(waiting=5_000, at=1.0, cpu_seconds=0.5)
    ended = Moment(waiting=4_000, at=3.0, cpu_seconds=1.0)
    found = Stretch(depth=5_100, begun=begun, ended=ended)
    assert (found.per_second, found.cpu_us_per_event) == (500.0, 500.0)
