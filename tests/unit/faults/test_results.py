"""Results of fault runs, and the command that runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from bench.faults.__main__ import faults
from bench.faults.catalogue import catalogue, chosen
from bench.faults.result import Result
from bench.faults.run import Run, Suite, perform

if TYPE_CHECKING:
    from pathlib import Path

#: Scripts rely on these keys.
STABLE = {
    *("name", "load", "injected", "lost", "double", "ghost", "wrong_token"),
    *("drain_seconds", "longest_gap_seconds", "door_under_2s"),
}


def test_a_result_has_the_stable_keys() -> None:
    assert set(Result(name="x", load=1, injected=1).as_json()) >= STABLE


@pytest.mark.parametrize(
    ("result", "parts"),
    [
        (
            Result(name="x", load=12_000, injected=41, lost=2, door_under_2s=0.9987, broken=("2 lost",)),
            ("FAIL x ", "12,000 sent", "41 faults", "lost 2", "under 2 s 99.87%", "BROKEN: 2 lost"),
        ),
        (
            Result(name="y", load=1, injected=1, drain_seconds=31.04, longest_gap_seconds=2.0, note="restarts: none"),
            ("ok   y ", "drained in 31.0 s", "longest gap 2.0 s", "restarts: none"),
        ),
    ],
)
def test_a_line_shows_the_figures_and_the_broken_promises(result: Result, parts: tuple[str, ...]) -> None:
    assert all(part in result.as_line() for part in parts), result.as_line()


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(servers=None, folder=tmp_path, full=False)  # type: ignore[arg-type]  # none is started


def test_a_run_that_raises_is_a_broken_promise(suite: Suite) -> None:
    def fail(_: object) -> Result:
        raise AssertionError("nobody listens")

    [result] = perform(Run(name="x", promise="", do=fail), suite)
    assert result.broken == ("AssertionError: nobody listens",)
    assert not result.passed


def test_a_suite_lists_its_broken_runs(suite: Suite) -> None:
    for name, broken in (("well", ()), ("ill", ("1 lost",))):
        result = Result(name=name, load=1, injected=1, broken=broken)
        list(perform(Run(name=name, promise="", do=lambda _, result=result: result), suite))  # type: ignore[misc]
    assert suite.broken == ["ill"]


def test_an_unknown_fault_is_refused_with_the_known_ones() -> None:
    result = CliRunner().invoke(faults, ["no_such"])
    assert result.exit_code == 2
    assert "no_such" in result.output
    assert "worker_kill" in result.output


def test_every_run_names_its_promise() -> None:
    assert all(run.promise and name == run.name for name, run in catalogue().items())


def test_a_first_word_stands_for_all_runs_that_begin_with_it() -> None:
    names = [run.name for run in chosen(["notify", "gap"])]
    assert names[-1] == "gap"
    assert len(names) > 2
    assert all(name.startswith("notify_") for name in names[:-1])


@pytest.mark.parametrize("name", ["notif", "speed"])
def test_an_unknown_run_is_named(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        chosen([name])
