"""A backlog at Front's rate limit makes the archives that the limit allows, with a minute that is shorter.

In a shorter minute each task's late start weighs more. So these bounds are lower than those of the benchmark.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.limit import SMALLEST, Case, measure

pytestmark = pytest.mark.timeout(400)

BESIDE_LIVE_MAIL = Case(tenants=1, files=0, workers=1, minute=20, minutes=3, live=6)
WITH_FILES = Case(tenants=1, files=1, workers=3, minute=30, minutes=3)


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """Work off both backlogs."""
    return measure((BESIDE_LIVE_MAIL, WITH_FILES))


@pytest.mark.parametrize("case", [BESIDE_LIVE_MAIL, WITH_FILES], ids=lambda case: case.name)
def test_nearly_all_possible_archives_are_made(figures: dict[str, Any], case: Case) -> None:
    assert figures["broken"] == []
    assert figures["cases"][case.name][SMALLEST] >= 0.9, figures


@pytest.mark.parametrize("case", [BESIDE_LIVE_MAIL, WITH_FILES], ids=lambda case: case.name)
def test_hardly_any_call_is_made_in_vain(figures: dict[str, Any], case: Case) -> None:
    made = sum(minute["calls"] for minute in figures["cases"][case.name]["minutes"])
    assert figures["cases"][case.name]["repeated"] < 0.02 * made, figures


def test_live_mail_does_not_wait_for_the_backlog(figures: dict[str, Any]) -> None:
    beside = figures["cases"][BESIDE_LIVE_MAIL.name]
    assert beside["live"] == beside["live_archived"] > 0
    assert beside["live_slowest_seconds"] < 5, beside
