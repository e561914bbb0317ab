"""All fault runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.faults import (
    all_at_once,
    conversations,
    door_faults,
    fairness,
    front_faults,
    plain_celery,
    power_loss,
    process_faults,
    store_faults,
)

if TYPE_CHECKING:
    from bench.faults.run import Run

RUNS: tuple[Run, ...] = (
    *process_faults.RUNS,
    *store_faults.RUNS,
    *door_faults.RUNS,
    *front_faults.RUNS,
    *conversations.RUNS,
    *fairness.RUNS,
    *all_at_once.RUNS,
    *power_loss.RUNS,
    *plain_celery.RUNS,
)


def catalogue() -> dict[str, Run]:
    """Return every run by its name."""
    return {run.name: run for run in RUNS}
