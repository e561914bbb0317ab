"""All fault runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.faults import (
    all_at_once,
    conversations,
    door_faults,
    fairness,
    front_faults,
    host_faults,
    naive_sender,
    notify_faults,
    plain_celery,
    power_loss,
    process_faults,
    store_faults,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.faults.run import Run

RUNS: tuple[Run, ...] = (
    *process_faults.RUNS,
    *store_faults.RUNS,
    *door_faults.RUNS,
    *notify_faults.RUNS,
    *naive_sender.RUNS,
    *front_faults.RUNS,
    *conversations.RUNS,
    *fairness.RUNS,
    *host_faults.RUNS,
    *all_at_once.RUNS,
    *power_loss.RUNS,
    *plain_celery.RUNS,
)


def catalogue() -> dict[str, Run]:
    """Return every run by its name."""
    return {run.name: run for run in RUNS}


def chosen(names: Iterable[str]) -> list[Run]:
    """Return the runs with these names; a first word, as `notify`, stands for all that begin with it.

    Raises KeyError for a name that stands for none.
    """
    return [run for name in names for run in _found(name)]


def _found(name: str) -> list[Run]:
    known = catalogue()
    if found := [known[name]] if name in known else [run for run in RUNS if run.name.startswith(f"{name}_")]:
        return found
    raise KeyError(name)
