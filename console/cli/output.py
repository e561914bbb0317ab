"""Prints for people and for scripts: documents on stdout, everything else on stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table


PAGE_WIDTH = 100  # where no terminal tells its own


QUIET_SECONDS = 5.0


def say(message: str) -> None:
    """A line about the progress or the outcome, for people."""
    click.echo(message, err=True)


def print_json(document: object) -> None:
    """The one document a `--json` command prints."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2, default=_as_json))


def screen() -> Console:
    """Standard output for people; colours go where it is no terminal or NO_COLOR is set."""
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else PAGE_WIDTH, highlight=False)


def shown(text: object, style: str = "") -> Text:
    """Text of others, safe on a terminal: no control or bidi character reaches it, and no markup is read from it."""
    from rich.text import Text

    return Text("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text)), style)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """A plain table; None is left blank, `right` names the columns of numbers, `whole` those to copy from."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        justify: JustifyMethod = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column in whole)
    for row in rows:
        table.add_row(*("" if cell is None else shown(cell, state_style(str(cell))) for cell in row))
    screen().print(table)


def say_when_none(found: Sequence[object], what: str) -> None:
    """Tell a person that a list is empty, which a header alone does not."""
    if not found:
        say(f"no {what}")


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Names and values, one pair a line."""
    screen().print(columns_of([shown(name, "dim"), shown(value)] for name, value in facts))


def columns_of(rows: Iterable[Sequence[Text]]) -> Table:
    """Lines of text under each other in columns; what is too long goes on below."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    lines = list(rows)
    for _ in lines[0] if lines else ():
        grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row(*line)
    return grid


def state_style(word: str) -> str:
    """The calm colour of a state; none for other words."""
    return {"done": "green", "stored": "green", "confirmed": "green", "failed": "red", "parked": "yellow"}.get(word, "")


def _as_json(value: object) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return value.hex
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def call_line(call: dict[str, Any]) -> Text:
    """Method, path, status, time and the budget that was left, on a line of its own."""
    status = call.get("status") or "no answer"
    left = f", {call['budget_left']} left" if call.get("budget_left") is not None else ""
    words = shown(f"    {call.get('method')} {call.get('path')} → {status} in {call.get('ms')} ms{left}", "dim")
    return Text.assemble("\n", words)


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
