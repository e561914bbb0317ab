"""Performs runs one after the other, each on an empty Mailroom, and hands on what each showed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.faults.result import Result
from bench.faults.run import Run, Suite
from bench.harness.servers import Servers

PREFIX = "mailroom-faults-"


@contextmanager
def suite(*, full: bool) -> Iterator[Suite]:
    """Servers and a folder for runs. The folder, with every process' output, stays when something went wrong."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o711)  # PostgreSQL runs as another account when we are root
    with Servers(folder) as servers:
        on = Suite(servers=servers, folder=folder, full=full)
        yield on
    if not on.broken:
        shutil.rmtree(folder)


def perform(run: Run, on: Suite) -> Iterator[Result]:
    """The results of one run; one that could not be carried out is a broken promise too."""
    for result in _results(run, on):
        if result.broken:
            on.broken.append(result.name)
        yield result


def _results(run: Run, on: Suite) -> Iterator[Result]:
    try:
        results = run.do(on)
        yield from [results] if isinstance(results, Result) else results
    except Exception as error:  # noqa: BLE001 -- the other runs are worth seeing
        yield Result(name=run.name, load=0, injected=0, broken=(f"{type(error).__name__}: {error}",))


def perform_all(runs: Iterable[Run], *, full: bool) -> Iterator[Result]:
    """All results, in turn."""
    with suite(full=full) as on:
        for run in runs:
            yield from perform(run, on)
