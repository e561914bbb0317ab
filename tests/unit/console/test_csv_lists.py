"""Lists become CSV in which no cell is a formula, and no address is there unless it was asked for."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from console.csv_lists import csv_header, csv_line, csv_lines, safe_cell
from console.web.display import masked


@dataclass
class Row:
    """A row of a list."""

    id: int
    who: str
    detail: str | None
    after: dict[str, Any] | None
    allowed: bool
    at: datetime


AT = datetime(2026, 3, 1, 10, 0, tzinfo=timezone(timedelta(hours=2)))
ROW = Row(id=7, who="jane@example.com", detail='no user with "ap@acme.example"', after={"é": 1}, allowed=True, at=AT)


def cells(text: str) -> list[list[str]]:
    """Read CSV as other programs do."""
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def test_a_row_has_its_fields_in_their_order() -> None:
    header, line = cells(csv_header(Row) + "".join(csv_lines(Row, [ROW])))
    assert header == ["id", "who", "detail", "after", "allowed", "at"]
    assert line == ["7", "jane@example.com", ROW.detail, '{"é": 1}', "yes", "2026-03-01T08:00:00+00:00"]
    assert cells("".join(csv_lines(Row, [replace(ROW, who="", detail=None, after=None, allowed=False)])))[0][1:5] == [
        "", "", "", "no",
    ]  # fmt: skip


def test_addresses_are_masked_but_for_those_who_acted() -> None:
    [line] = cells("".join(csv_lines(Row, [ROW], mask=masked)))
    assert line[1:3] == ["jane@example.com", 'no user with "a…@acme.example"']


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "+1", "-1", "@sum(a1)", "\t=1", "\r=1", "\n=1", '"=1', "'=1", ' "\' =cmd|x', "＝1", "＋1", "－1", "＠x",
        "\u00a0=1", "\u3000-1", "\u200b=1", "\x0b@x",
    ],
)  # fmt: skip
def test_no_cell_is_a_formula(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert cells(csv_line(["first", text])) == [["first", f"'{text}"]]


@pytest.mark.parametrize("text", ["", "evt_1", "a=b", "2026-03-01", "1-2", "é", '"', " "])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert safe_cell(text) == text


def test_every_cell_is_quoted_so_that_no_separator_begins_another() -> None:
    assert csv_line(['a;=1,"b"', "c\nd"]) == '"a;=1,""b""","c\nd"\r\n'
