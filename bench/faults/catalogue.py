"""All runs there are: what the modules of `bench.faults.runs` list."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from bench.faults import runs

if TYPE_CHECKING:
    from bench.faults.run import Run


def catalogue() -> dict[str, Run]:
    """Every run by its name, in the order of the modules."""
    modules = [import_module(f"{runs.__name__}.{module.name}") for module in iter_modules(runs.__path__)]
    return {run.name: run for module in modules for run in module.RUNS}
