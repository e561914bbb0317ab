"""The short size of the fault suite: every promise is kept on real processes and servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.faults.catalogue import catalogue
from bench.faults.run import perform, suite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.faults.run import Run, Suite

RUNS = [run for run in catalogue().values() if run.in_ci]


@pytest.fixture(scope="module")
def on() -> Iterator[Suite]:
    with suite(full=False) as stage:
        yield stage


@pytest.mark.timeout(300)
@pytest.mark.parametrize("run", RUNS, ids=[run.name for run in RUNS])
def test_a_promise_is_kept(run: Run, on: Suite) -> None:
    if reason := run.obstacle():
        pytest.skip(reason)
    for result in perform(run, on):
        print(result.as_line())
        assert result.broken == ()
