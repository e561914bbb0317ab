"""The command `./run bench` without a measurement."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from bench.__main__ import bench
from bench.catalogue import catalogue, combine, machine


def test_the_list_has_every_benchmark() -> None:
    lines = CliRunner().invoke(bench, ["--list"]).output.splitlines()
    assert [line.split()[0] for line in lines] == [*catalogue(), "all"]


@pytest.mark.parametrize("arguments", [[], ["speed"], ["door", "--slow"]])
def test_an_unknown_name_or_option_is_a_usage_error(arguments: list[str]) -> None:
    assert CliRunner().invoke(bench, arguments).exit_code == 2


def test_a_result_names_machine_and_versions() -> None:
    found = machine()
    assert found["cores"] > 0
    assert found["kernel"]
    assert {"flask", "granian", "celery", "redis"} <= found["packages"].keys()
    assert {"fastapi", "arq", "express", "bullmq"} <= found["peers"].keys()


def test_combined_results_name_the_benchmark_of_each_problem() -> None:
    door = {"name": "door", "promises": [{"what": "a"}], "broken": ["1 missing"]}
    scale = {"name": "scale", "promises": [{"what": "b"}], "broken": []}
    both = combine([door, scale])
    assert both["promises"] == [{"what": "a"}, {"what": "b"}]
    assert both["broken"] == ["door: 1 missing"]
    assert both["scale"] is scale


@pytest.mark.parametrize(
    "words", [["door", "--recorders", "1"], ["record", "--recorders", "0"], ["record", "--recorders", "1,x"]]
)
def test_numbers_of_recorders_are_checked_before_anything_runs(words: list[str]) -> None:
    ended = CliRunner().invoke(bench, words)
    assert ended.exit_code == 2
    assert "--recorders" in ended.output
