"""Read users from a CSV file line by line, whichever delimiter, quoting and encoding its program chose."""

from __future__ import annotations

import codecs
import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TextIO

from console.user_validation import BadUser, validated_user
from shared.db.users.user_writes import ImportedUser, Mistake
from shared.errors import MailroomError
from shared.text import hidden_character

#: The first bytes of a file: a mark, or Latin letters without one.
WIDE_ENCODINGS = {
    rb"\xff\xfe\0\0|\0\0\xfe\xff": "utf-32",
    rb"\xff\xfe|\xfe\xff": "utf-16",
    rb"[^\0]\0[^\0]\0": "utf-16-le",
    rb"\0[^\0]\0[^\0]": "utf-16-be",
}
LONGEST_LINE = 100_000  # characters
LONGEST_RECORD = 10  # lines of a quoted field, before its opening quote counts as a mistake
SEPARATOR = re.compile(r"""["']?sep=(.)["']?\s*""", re.IGNORECASE)  # Excel's own first line
EMAIL = re.compile(r"e-?mail[ _-]?\d*")
NEEDED = ("external_id", "name", "email")
SINGLE = ("external_id", "name", "action", "active")
HEADER = "external_id,name,email[,email…][,action][,active]"
ACTIVE = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": None}

Line = tuple[int, str]


class BadFile(MailroomError):
    """The file cannot be read as text."""

    code = "bad_file"


class BadHeader(MailroomError):
    """The first line does not name the columns."""

    code = "bad_header"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The position of each column, from the header; `ignored` names the unknown columns."""

    delimiter: str
    width: int
    external_id: int
    name: int
    emails: tuple[int, ...]
    action: int | None
    active: int | None
    ignored: tuple[str, ...]


def detect_encoding(file: BinaryIO) -> str:
    """Return UTF-16 or UTF-32 if the file begins so, else the first that decodes all: UTF-8, Windows-1252, Latin-1.

    Raises BadFile when the file begins as UTF-16 or UTF-32 and does not go on so. The file is left at its start.
    """
    file.seek(0)
    start = file.read(4)
    wide = next((encoding for begins, encoding in WIDE_ENCODINGS.items() if re.match(begins, start, re.DOTALL)), None)
    if wide and not _decodes(file, wide):
        raise BadFile(f"the file begins as {wide.upper()} and is damaged or cut off; save it again as CSV UTF-8")
    found = wide or next(encoding for encoding in ("utf-8-sig", "cp1252", "latin-1") if _decodes(file, encoding))
    file.seek(0)
    return found


def numbered_lines(file: TextIO) -> Iterator[Line]:
    """Number the lines, and cut each at LONGEST_LINE: an endless line takes bounded memory."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        rest = line
        while len(rest) == LONGEST_LINE and not rest.endswith(("\n", "\r")):
            rest = file.readline(LONGEST_LINE)
        yield number, line


def parse_header(header: str, delimiters: str = ",;\t|") -> Columns:
    """Parse the header, with the delimiter that finds most known columns. Raises BadHeader naming what is missing."""
    readings = [(delimiter, _column_names(header, delimiter)) for delimiter in delimiters]
    delimiter, names = max(readings, key=lambda reading: sum(_is_known(name) for name in reading[1]))
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
        ignored=tuple(name for name in names if name and not _is_known(name)),
    )


def read_header(lines: Iterator[Line]) -> Columns:
    """Parse the first line that is not blank as the header; `lines` continues after it. Raises BadHeader.

    A line `sep=;` before it names the delimiter.
    """
    delimiters = ",;\t|"
    for number, text in lines:
        if separator := SEPARATOR.fullmatch(text.lstrip("\ufeff")):
            delimiters = separator[1]
        elif text.strip(" \t\r\n,;|\ufeff"):
            return parse_header(text, delimiters)
        if number > LONGEST_RECORD:
            break
    raise BadHeader(f"the file has no first line with column names: {HEADER}")


def read_users(lines: Iterable[Line], columns: Columns) -> Iterator[ImportedUser | Mistake]:
    """Turn each line into its user, or into the mistake in it; blank lines are skipped."""
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
        user = validated_user(cells[columns.external_id], cells[columns.name], emails, action, active=ACTIVE[active])
    except BadUser as error:
        return Mistake(line=number, what=str(error))
    return ImportedUser(line=number, user=user)


def _records(lines: Iterable[Line], columns: Columns) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the line number of each record with its cells, or with the mistake in it.

    A quoted field may span lines. A quote that is never closed spoils its own line and none of the following.
    """
    source, pushed_back = iter(lines), deque[Line]()
    while (first := _next(source, pushed_back)) is not None:
        record = [first]
        while _is_unclosed(record) and len(record) < LONGEST_RECORD:
            if (more := _next(source, pushed_back)) is None:
                break
            record.append(more)
        cells = _cells("".join(text for _, text in record), columns)
        if isinstance(cells, str) and len(record) > 1:
            pushed_back.extendleft(reversed(record[1:]))
            cells = "a quote is not closed"
        yield first[0], cells


def _next(source: Iterator[Line], pushed_back: deque[Line]) -> Line | None:
    return pushed_back.popleft() if pushed_back else next(source, None)


def _is_unclosed(record: list[Line]) -> bool:
    return sum(text.count('"') for _, text in record) % 2 == 1


def _cells(text: str, columns: Columns) -> list[str] | str:
    """Return the cells, exactly as many as the header has, or the mistake. Empty cells at the end may be missing."""
    if len(text) >= LONGEST_LINE:
        return f"longer than {LONGEST_LINE:,} characters"
    try:
        cells = _split(text, columns.delimiter)
    except csv.Error as error:
        return f"no CSV ({error})"
    if not any(cell.strip() for cell in cells):
        return []
    surplus = cells[columns.width :]
    if any(cell.strip() for cell in surplus):
        return f"{len(cells)} columns where the header has {columns.width}"
    return cells[: columns.width] + [""] * (columns.width - len(cells))


def _split(text: str, delimiter: str) -> list[str]:
    if '"' not in text:
        return text.rstrip("\r\n").split(delimiter)
    return next(csv.reader([text], delimiter=delimiter, strict=True), [])


def _column_names(header: str, delimiter: str) -> list[str]:
    try:
        names = _split(header.lstrip("\ufeff"), delimiter)
    except csv.Error:
        return []
    visible = ("".join(char for char in name if not hidden_character(char)) for name in names)
    return [name.strip().casefold() for name in visible]


def _is_known(name: str) -> bool:
    return name in SINGLE or EMAIL.fullmatch(name) is not None


def _decodes(file: BinaryIO, encoding: str) -> bool:
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while part := file.read(2**20):
            decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True
