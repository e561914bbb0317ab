"""Print results on stdout, as tables for people or JSON for scripts; notes, questions and progress go to stderr."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from console.json_values import as_json
from shared.text import printable

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table
    from rich.text import Text

PAGE_WIDTH = 100  # characters, where stdout is no terminal
LONGEST_UNWRAPPED = 24  # characters
QUIET_SECONDS = 5.0  # between two lines of progress, where stderr is no terminal
STATE_COLOURS = {"done": "green", "stored": "green", "confirmed": "green", "failed": "red", "parked": "yellow"}


def say(message: str) -> None:
    """Print a line for people on stderr: progress, a note or the outcome."""
    click.echo(message, err=True)


def say_if_empty(found: Sequence[object], things: str) -> None:
    """Tell a person that a list is empty: a header alone does not."""
    if not found:
        say(f"no {things}")


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal and abort unless the answer is yes. With `yes` nothing is asked.

    Raises UsageError where stdin is no terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: add --yes, or --dry-run to only see the plan")
    click.confirm(question, abort=True, err=True)


def print_json(document: object) -> None:
    """Print the one document of a `--json` command.

    Characters that a terminal obeys or hides, and all that stdout's encoding lacks, are written as \\uXXXX.
    """
    text = json.dumps(document, ensure_ascii=False, indent=2, default=as_json)
    click.echo("".join(map(_json_character, text)) if not _is_plain(text) else text)


def print_csv(kind: type[Any], rows: Iterable[Any]) -> None:
    """Print rows, which are dataclasses of this kind, as CSV without a byte order mark."""
    from console.csv_lists import csv_header, csv_lines

    for line in (csv_header(kind), *csv_lines(kind, rows)):
        click.echo(line, nl=False)


def print_rows(kind: type[Any], rows: Sequence[Any], *, as_json: bool, as_csv: bool) -> bool:
    """Print rows for a program, if it is one that asks: as JSON or as CSV. False where a person asks."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(kind, rows)
    return as_json or as_csv


def _is_plain(text: str) -> bool:
    return text.replace("\n", "").isprintable() and _can_print(text)


def _json_character(char: str) -> str:
    """Escape as JSON does. A raw newline is one of the layout, because JSON has no other outside of escapes."""
    return char if char == "\n" or (char.isprintable() and _can_print(char)) else json.dumps(char)[1:-1]


def _can_print(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def replace_unprintable() -> None:
    """Print a replacement for each character that the encoding of the terminal lacks, in place of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    unwrapped: Sequence[str] = (),
) -> None:
    """Print a plain table; a cell of None stays blank.

    `right` names the columns of numbers, `unwrapped` the columns that a person copies from. They are wrapped as well
    where a cell is so long that it would leave no room for the other columns.
    """
    from rich.table import Table

    table, page = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim"), stdout_page()
    cells = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    widths = _widths(columns, cells, unwrapped, room=page.width - 2 * len(columns) + 2)
    for column, width in zip(columns, widths, strict=True):
        justify: JustifyMethod = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold", width=width)
    for row in cells:
        table.add_row(*(safe_text(cell, state_style(cell)) for cell in row))
    page.print(table)


def _widths(
    columns: Sequence[str], cells: Sequence[Sequence[str]], unwrapped: Sequence[str], *, room: int
) -> Iterator[int | None]:
    """Share the room: each column gets its header, or its cells where they must not wrap, then the narrowest get more.

    A cell longer than LONGEST_UNWRAPPED wraps in any column. Where the room is too small for that, rich decides.
    """
    from rich.cells import cell_len

    lengths = [[cell_len(cell) for cell in (column, *below)] for column, *below in zip(columns, *cells, strict=True)]
    most = [max(column) for column in lengths]
    widths = [
        max(length for length in column if length <= LONGEST_UNWRAPPED) if name in unwrapped else column[0]
        for name, column in zip(columns, lengths, strict=True)
    ]
    if sum(widths) > room:
        return iter([None] * len(columns))
    for _ in range(min(room, sum(most)) - sum(widths)):
        narrowest = min((width, place) for place, width in enumerate(widths) if width < most[place])[1]
        widths[narrowest] += 1
    return iter(widths)


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line."""
    stdout_page().print(text_grid([safe_text(name, "dim"), safe_text(value)] for name, value in pairs))


def stdout_page() -> Console:
    """Return stdout as rich prints on it: without colours where it is no terminal or NO_COLOR is set."""
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else PAGE_WIDTH, highlight=False)


def safe_text(text: object, style: str = "") -> Text:
    """Make a foreign text safe to print: control and bidi characters are replaced, markup is not interpreted."""
    from rich.text import Text

    return Text(printable(str(text)), style)


def text_grid(rows: Iterable[Sequence[Text]]) -> Table:
    """Align texts in columns without a header; a long text continues on the next line of its column."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    lines = list(rows)
    for _ in lines[0] if lines else ():
        grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row(*line)
    return grid


def state_style(word: str) -> str:
    """Return the colour of a state, and no colour for any other word."""
    return STATE_COLOURS.get(word, "")


def call_line(call: dict[str, Any]) -> Text:
    """Format a request to Front on a line of its own: method, path, status, time and the rate limit that was left."""
    from rich.text import Text

    status = call.get("status") or "no answer"
    left = f", {call['budget_left']} left" if call.get("budget_left") is not None else ""
    line = safe_text(f"    {call.get('method')} {call.get('path')} → {status} in {call.get('ms')} ms{left}", "dim")
    return Text.assemble("\n", line)


@contextmanager
def count_progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress on stderr. Yields a function that takes how many more are done."""
    if not sys.stderr.isatty():
        yield _count_lines(label, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        job = bar.add_task(label, total=total)
        yield lambda more: bar.advance(job, more)


@contextmanager
def share_progress(label: str) -> Iterator[Callable[[float, str], None]]:
    """Show progress on stderr. Yields a function that takes the share done, from 0 to 1, and a note about it."""
    if not sys.stderr.isatty():
        yield _share_lines(label)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %, {task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        job = bar.add_task(label, total=1.0, note="")
        yield lambda done, note: bar.update(job, completed=done, note=note)


def _count_lines(label: str, total: int) -> Callable[[int], None]:
    done, last = 0, time.monotonic()

    def advance(more: int) -> None:
        nonlocal done, last
        done += more
        if time.monotonic() - last >= QUIET_SECONDS:
            last = time.monotonic()
            say(f"{label}: {done:,} of {total:,}")

    return advance


def _share_lines(label: str) -> Callable[[float, str], None]:
    last = time.monotonic()

    def update(done: float, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= QUIET_SECONDS:
            last = time.monotonic()
            say(f"{label}: {done:.0%}, {note}")

    return update
