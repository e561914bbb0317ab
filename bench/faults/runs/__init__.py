"""The fault runs: every module here has `RUNS`, a tuple of `bench.faults.run.Run`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.faults.run import Run


def catalogue() -> dict[str, Run]:
    """Return every run by its name, in the order of the modules."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return {run.name: run for module in modules for run in module.RUNS}
