"""What `./run bench` answers without measuring, and how a result is shown and kept."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from bench.__main__ import bench
from bench.catalogue import catalogue
from bench.machine import machine
from bench.shown import shown


def a_result(**figures: Any) -> dict[str, Any]:
    return {"name": "door", "broken": [], "machine": machine(), **figures}


def test_the_list_has_every_benchmark() -> None:
    lines = CliRunner().invoke(bench, ["--list"]).output.splitlines()
    assert [line.split()[0] for line in lines] == [*catalogue(), "all"]


@pytest.mark.parametrize("arguments", [[], ["speed"], ["door", "--slow"]])
def test_what_is_not_known_is_a_mistake_of_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(bench, arguments).exit_code == 2


def test_a_result_says_where_it_was_measured() -> None:
    found = machine()
    assert found["cores"] > 0
    assert found["kernel"]
    assert {"flask", "granian", "celery", "redis"} <= found["packages"].keys()
    assert {"fastapi", "arq", "express", "bullmq"} <= found["peers"].keys()


def test_people_see_the_ratios_and_what_is_broken() -> None:
    text = shown(a_result(ours_to_textbook_ratio=4.2, broken=["ours: 1 accepted and not in the queue"]))
    assert "ours_to_textbook_ratio: 4.2" in text
    assert "BROKEN: ours: 1 accepted and not in the queue" in text


def test_people_see_who_was_left_out_and_why() -> None:
    assert "left out: express_bullmq (no Node.js with npm here)" in shown(
        a_result(left_out={"express_bullmq": "no Node.js with npm here"})
    )
