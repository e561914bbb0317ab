"""Shows how far a long command is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from console.cli.output import say

QUIET_SECONDS = 5.0


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function to be told how much more was done."""
    if sys.stderr.isatty():
        with _bar(label, total) as advance:
            yield advance
    else:
        yield _plain_lines(label, total)


@contextmanager
def share(label: str) -> Iterator[Callable[[float, str], None]]:
    """Gives a function to be told which share is done, from 0 to 1, and a few words about it."""
    if not sys.stderr.isatty():
        yield _plain_shares(label)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %, {task.fields[told]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        job = bar.add_task(label, total=1.0, told="")
        yield lambda done, told: bar.update(job, completed=done, told=told)


def _plain_shares(label: str) -> Callable[[float, str], None]:
    last = time.monotonic()

    def tell(done: float, told: str) -> None:
        nonlocal last
        if time.monotonic() - last >= QUIET_SECONDS:
            last = time.monotonic()
            say(f"{label}: {done:.0%}, {told}")

    return tell


@contextmanager
def _bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        job = bar.add_task(label, total=total)
        yield lambda more: bar.advance(job, more)


def _plain_lines(label: str, total: int) -> Callable[[int], None]:
    done, told = 0, time.monotonic()

    def advance(more: int) -> None:
        nonlocal done, told
        done += more
        if time.monotonic() - told >= QUIET_SECONDS:
            told = time.monotonic()
            say(f"{label}: {done:,} of {total:,}")

    return advance
