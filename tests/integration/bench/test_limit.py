"""A backlog at Front's rate limit makes the archives that the limit allows, with a minute that is shorter.

In a shorter minute each task's late start weighs more. So these bounds are lower than those of the benchmark.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.limit import SMALLEST, Case, measure

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def case() -> Case:
    """A backlog without files, beside live mail. `test_limit_with_files` has another one."""
    return Case(tenants=1, files=0, workers=1, minute=20, minutes=3, live=6)


@pytest.fixture(scope="module")
def figures(case: Case) -> dict[str, Any]:
    """Work off the backlog."""
    return measure((case,))


def test_nearly_all_possible_archives_are_made(figures: dict[str, Any], case: Case) -> None:
    assert figures["broken"] == []
    assert figures["cases"][case.name][SMALLEST] >= 0.9, figures


def test_hardly_any_call_is_made_in_vain(figures: dict[str, Any], case: Case) -> None:
    made = sum(minute["calls"] for minute in figures["cases"][case.name]["minutes"])
    assert figures["cases"][case.name]["repeated"] < 0.02 * made, figures


def test_live_mail_does_not_wait_for_the_backlog(figures: dict[str, Any], case: Case) -> None:
    beside = figures["cases"][case.name]
    assert beside["live"] == beside["live_archived"] > 0
    assert beside["live_slowest_seconds"] < 5, beside
