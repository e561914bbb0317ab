"""Recording stays fast. The tests compare ratios within one run only, with slack for a busy machine.

The CPU time of an event varies far less than rates: ours was 14 times cheaper on a busy machine, 11 on a quiet one.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.record.benchmark import RECORD
from bench.record.recorders import recorders

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """Run a quick benchmark."""
    return RECORD.run(quick=True)


def test_every_webhook_is_recorded_by_both(figures: dict[str, Any]) -> None:
    [case] = figures["cases"].values()
    assert case["contestants"].keys() == {"ours", "ours_profiled", "task_each"}
    assert figures["broken"] == []


def test_an_event_costs_far_less_than_by_a_task_of_its_own(figures: dict[str, Any]) -> None:
    assert figures["task_each_to_ours_cpu_ratio"] > 6, figures


def test_more_is_recorded_than_by_a_task_each(figures: dict[str, Any]) -> None:
    assert figures["ours_to_task_each_ratio"] > 2, figures


def test_several_recorders_record_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.record.recorders.QUICK_WEBHOOKS", 400)
    figures = recorders([2], quick=True)
    assert figures["broken"] == []
    assert figures["recorders"]["2"]["cpu_us_per_event"] > 0
