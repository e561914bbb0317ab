"""Reads a list of users from a CSV file of whatever program wrote it, a line at a time."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from console.user_description import BadUser, described_user
from shared.db.users.user_import import ImportedUser, Mistake
from shared.errors import MailroomError

if TYPE_CHECKING:
    from pathlib import Path


LONGEST_LINE = 100_000
LONGEST_RECORD = 10  # lines a quoted field may go over before the quote counts as forgotten
EMAIL = re.compile(r"e-?mail[ _-]?\d*")
NEEDED = ("external_id", "name", "email")
SINGLE = ("external_id", "name", "action", "active")
HEADER = "external_id,name,email[,email…][,action][,active]"
ACTIVE = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": None}

Line = tuple[int, str]


class BadHeader(MailroomError):
    """The first line does not name the columns."""

    code = "bad_header"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where the header puts what; `ignored` are columns nobody here knows."""

    delimiter: str
    width: int
    external_id: int
    name: int
    emails: tuple[int, ...]
    action: int | None
    active: int | None
    ignored: tuple[str, ...]


def encoding_of(path: Path) -> str:
    """UTF-8 if the whole file is (UTF-16 if it says so), else Windows-1252, else Latin-1."""
    with path.open("rb") as file:
        if file.read(2) in {b"\xff\xfe", b"\xfe\xff"}:
            return "utf-16"
    return next(encoding for encoding in ("utf-8-sig", "cp1252", "latin-1") if _reads_as(path, encoding))


def numbered_lines(file: TextIO) -> Iterator[Line]:
    """The lines with their numbers; of an endless one only the beginning, in bounded memory."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        rest = line
        while len(rest) == LONGEST_LINE and not rest.endswith(("\n", "\r")):
            rest = file.readline(LONGEST_LINE)
        yield number, line


def columns_of(header: str) -> Columns:
    """Understand the header, whichever delimiter it uses. Raises BadHeader naming what is missing."""
    readings = [(delimiter, _names(header, delimiter)) for delimiter in ",;\t"]
    delimiter, names = max(readings, key=lambda reading: sum(_known(name) for name in reading[1]))
    kinds = ["email" if EMAIL.fullmatch(name) else name for name in names]
    missing = [name for name in NEEDED if name not in kinds]
    twice = [name for name in SINGLE if kinds.count(name) > 1]
    if missing or twice:
        problem = f"lacks {', '.join(missing)}" if missing else f"names {', '.join(twice)} twice"
        raise BadHeader(f"the first line {problem}; wanted: {HEADER}")
    return Columns(
        delimiter=delimiter,
        width=len(names),
        external_id=kinds.index("external_id"),
        name=kinds.index("name"),
        emails=tuple(place for place, kind in enumerate(kinds) if kind == "email"),
        action=kinds.index("action") if "action" in kinds else None,
        active=kinds.index("active") if "active" in kinds else None,
        ignored=tuple(name for name in names if name and not _known(name)),
    )


def header_of(lines: Iterator[Line]) -> Columns:
    """The columns, named by the first line that is not blank; `lines` goes on after it."""
    for number, text in lines:
        if text.strip(" \t\r\n,;"):
            return columns_of(text)
        if number > LONGEST_RECORD:
            break
    raise BadHeader(f"the file has no first line with column names: {HEADER}")


def read_users(lines: Iterable[Line], columns: Columns) -> Iterator[ImportedUser | Mistake]:
    """Each line as the user it describes, or as what is wrong with it; blank lines are passed over."""
    for number, cells in _records(lines, columns):
        if isinstance(cells, str):
            yield Mistake(line=number, what=cells)
        elif any(cell.strip() for cell in cells):
            yield _user(number, cells, columns)


def _user(number: int, cells: list[str], columns: Columns) -> ImportedUser | Mistake:
    emails = [cells[place] for place in columns.emails]
    action = cells[columns.action] if columns.action is not None else ""
    active = cells[columns.active].strip().casefold() if columns.active is not None else ""
    if active not in ACTIVE:
        return Mistake(line=number, what=f"active is {active[:80]!r}; yes or no")
    try:
        user = described_user(cells[columns.external_id], cells[columns.name], emails, action, active=ACTIVE[active])
    except BadUser as error:
        return Mistake(line=number, what=str(error))
    return ImportedUser(line=number, user=user)


def _records(lines: Iterable[Line], columns: Columns) -> Iterator[tuple[int, list[str] | str]]:
    """The cells of each record, or what is wrong with its line.

    A quoted field may go over lines; a forgotten quote costs its own line and none of the following.
    """
    source, given_back = iter(lines), deque[Line]()
    while (first := _next(source, given_back)) is not None:
        taken = [first]
        while _is_open(taken) and len(taken) < LONGEST_RECORD and (more := _next(source, given_back)) is not None:
            taken.append(more)
        cells = _cells("".join(text for _, text in taken), columns)
        if isinstance(cells, str) and len(taken) > 1:
            given_back.extendleft(reversed(taken[1:]))
            cells = "a quote is not closed"
        yield first[0], cells


def _next(source: Iterator[Line], given_back: deque[Line]) -> Line | None:
    return given_back.popleft() if given_back else next(source, None)


def _is_open(taken: list[Line]) -> bool:
    return sum(text.count('"') for _, text in taken) % 2 == 1


def _cells(text: str, columns: Columns) -> list[str] | str:
    """The cells, exactly as many as the header has, or what is wrong."""
    if len(text) >= LONGEST_LINE:
        return f"longer than {LONGEST_LINE:,} characters"
    try:
        cells = _split(text, columns.delimiter)
    except csv.Error as error:
        return f"no CSV ({error})"
    if not any(cell.strip() for cell in cells):
        return []
    surplus = cells[columns.width :]
    if len(cells) < columns.width or any(cell.strip() for cell in surplus):
        return f"{len(cells)} columns where the header has {columns.width}"
    return cells


def _split(text: str, delimiter: str) -> list[str]:
    if '"' not in text:
        return text.rstrip("\r\n").split(delimiter)
    return next(csv.reader([text], delimiter=delimiter, strict=True), [])


def _names(header: str, delimiter: str) -> list[str]:
    try:
        return [name.strip().casefold() for name in _split(header, delimiter)]
    except csv.Error:
        return []


def _known(name: str) -> bool:
    return name in SINGLE or EMAIL.fullmatch(name) is not None


def _reads_as(path: Path, encoding: str) -> bool:
    try:
        with path.open(encoding=encoding, newline="") as file:
            while file.read(2**20):
                pass
    except UnicodeDecodeError:
        return False
    return True
