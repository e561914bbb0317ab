"""Every screen of the console opens in time over a small database; `./run bench console` measures a large one."""

from __future__ import annotations

from typing import Any

import pytest

from bench.console.benchmark import CONSOLE, SCREENS

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """Run a quick benchmark."""
    return CONSOLE.run(quick=True)


def test_every_screen_opens(figures: dict[str, Any]) -> None:
    assert figures["screens"].keys() == SCREENS.keys()
    assert figures["broken"] == []


def test_no_screen_takes_long(figures: dict[str, Any]) -> None:
    """The slack is for a busy machine: a screen that reads a whole table takes far longer at full size only."""
    assert figures["slowest_screen_p95_ms"] < 1_500, figures


def test_figures_and_open_consoles_leave_the_recorder_its_time(figures: dict[str, Any]) -> None:
    """The slack is for rounds of a second; the whole benchmark compares longer ones."""
    assert figures["recorder_ratio"] > 0.6, figures
    assert figures["recorder_beside_consoles_ratio"] > 0.5, figures
