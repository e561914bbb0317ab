"""Write lists as CSV that spreadsheets open without running anything in it: pure."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from console.json_values import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Spreadsheets know UTF-8 by it. It is for files that people open; a pipe gets none.
BYTE_ORDER_MARK = "\ufeff"
#: A cell that begins with one of these is a formula, also in full width, and after what `_is_skipped` names.
FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")
#: Names of people who log in, and of tenants: they are what an export is about, and stay as they are.
UNMASKED = frozenset({"who", "requested_by", "state_by", "tenant"})


def csv_header(kind: type[Any]) -> str:
    """Return the first line: the names of the fields of this dataclass, one a column."""
    return csv_line(_names(kind))


def csv_lines(kind: type[Any], rows: Iterable[Any], *, mask: Callable[[str], str] | None = None) -> Iterator[str]:
    """Yield a line for each row, a dataclass of this kind.

    Times are ISO 8601 in UTC, objects are JSON, nothing is an empty cell. `mask` replaces the addresses in a text.
    """
    names = _names(kind)
    for row in rows:
        yield csv_line(_text(getattr(row, name), mask=None if name in UNMASKED else mask) for name in names)


def csv_line(cells: Iterable[str]) -> str:
    """Return one line of RFC 4180. Every cell is quoted: a semicolon must not begin a new one in some countries."""
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(map(safe_cell, cells))
    return line.getvalue()


def safe_cell(text: str) -> str:
    """Return the text of a cell; an apostrophe before it keeps a spreadsheet from taking it for a formula."""
    start = next((char for char in text if not _is_skipped(char)), "")
    return f"'{text}" if FORMULA_STARTS & {start, text[:1]} else text


def _is_skipped(char: str) -> bool:
    return char in "\"'" or char.isspace() or not char.isprintable()


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in fields(kind)]


def _text(value: Any, *, mask: Callable[[str], str] | None) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = json.dumps(value, ensure_ascii=False, default=as_json) if isinstance(value, (dict, list)) else str(value)
    return mask(text) if mask else text
