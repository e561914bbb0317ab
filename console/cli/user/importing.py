"""Import users from a CSV file through staging tables, in one transaction, and collect the wrong lines."""

from __future__ import annotations

import bisect
import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from console.cli.output import count_progress, say
from console.cli.user.csv_table import Columns, detect_encoding, numbered_lines, read_header, read_users
from shared.db.core.pool import Connection
from shared.db.users import user_writes, users
from shared.db.users.user_writes import AddressMove, ImportedUser, Mistake, repeated
from shared.errors import MailroomError

STDIN = Path("-")
MAX_SHOWN = 20  # mistakes, and moved addresses, printed one by one
BATCH_SIZE = 2_000  # lines in memory at a time


class TooManyUsers(MailroomError):
    """The file has more users than one request may carry."""

    code = "too_many_users"


@dataclass(kw_only=True)
class Mistakes:
    """Counts wrong lines, keeps the first few to show, and writes all to a file where one is given."""

    file: TextIO | None
    lines: set[int] = field(default_factory=set)
    first: list[tuple[int, str]] = field(default_factory=list)

    def add(self, mistake: Mistake) -> None:
        """Record one mistake."""
        what = mistake.what + ("; the rest of the line went in" if mistake.address else "")
        self.lines.add(mistake.line)
        bisect.insort(self.first, (mistake.line, what))
        del self.first[MAX_SHOWN:]
        if self.file:
            self.file.write(f"line {mistake.line}: {what}\n")


def import_file(  # noqa: PLR0913 -- each choice is named at the call
    conn: Connection, tenant_id: int, path: Path, mistakes: Mistakes, *, move: bool, dry_run: bool
) -> dict[str, int]:
    """Import the file's users and count them by outcome. A dry run, or an interruption, changes nothing.

    With `move` they get addresses of users whom the file does not name; `moved` counts all addresses with a new owner.
    """
    with conn.transaction(force_rollback=dry_run), _open(path) as file:
        users.lock(conn, tenant_id)
        user_writes.create_staging_tables(conn)
        columns = _read(file, mistakes, partial(user_writes.stage, conn))
        for mistake in user_writes.remove_repeated_lines(conn):
            mistakes.add(mistake)
        for mistake in user_writes.remove_taken_addresses(conn, tenant_id, move=move):
            mistakes.add(mistake)
        moved = show_moves(user_writes.moves(conn, tenant_id))
        user_writes.delete_old_addresses(conn, tenant_id)
        with count_progress("writing", user_writes.count_lines(conn)) as advance:
            for written in user_writes.write_users(conn, tenant_id, with_actions=columns.action is not None):
                advance(written)
        return {**user_writes.count_outcomes(conn), "moved": moved}


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    """Open a file, or copy a pipe (`-`, `<(…)`, /dev/stdin): finding the encoding reads the whole of it first."""
    with ExitStack() as stack:
        given = sys.stdin.buffer if path == STDIN else stack.enter_context(path.open("rb"))
        file = given if given.seekable() else stack.enter_context(_copied(given))
        encoding = detect_encoding(file)
        if encoding != "utf-8-sig":
            say(f"{path.name} is not UTF-8; read as {encoding}")
        yield stack.enter_context(io.TextIOWrapper(file, encoding=encoding, newline=""))


@contextmanager
def _copied(pipe: BinaryIO) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(pipe, copy)
        yield cast("BinaryIO", copy)


def read_file(path: Path, mistakes: Mistakes, *, most: int) -> tuple[Columns, list[ImportedUser]]:
    """Return the columns and the users of a file; of several lines with one external id the first one counts.

    Raises TooManyUsers.
    """
    users_of_file: list[ImportedUser] = []
    first_lines: dict[str, int] = {}

    def take(batch: list[ImportedUser]) -> None:
        for entry in batch:
            external_id = entry.user.external_id
            earlier = first_lines.setdefault(external_id, entry.line)
            if earlier == entry.line:
                users_of_file.append(entry)
            else:
                mistakes.add(Mistake(line=entry.line, what=repeated(external_id, earlier), earlier=earlier))
        if len(users_of_file) > most:
            raise TooManyUsers(
                f"from elsewhere a file may have {most:,} users; import it beside the console, or in parts"
            )

    with _open(path) as file:
        return _read(file, mistakes, take), users_of_file


def _read(file: TextIO, mistakes: Mistakes, take: Callable[[list[ImportedUser]], None]) -> Columns:
    """Read the file in batches of users, and return its columns."""
    size = file.buffer.seek(0, io.SEEK_END)
    file.buffer.seek(0)
    lines = numbered_lines(file)
    columns = read_header(lines)
    if columns.ignored:
        say(f"ignored columns: {', '.join(columns.ignored)}")
    with count_progress("reading", size) as advance:
        read = 0
        for batch in _batches(read_users(lines, columns)):
            take([entry for entry in batch if isinstance(entry, ImportedUser)])
            for entry in batch:
                if isinstance(entry, Mistake):
                    mistakes.add(entry)
            advance(file.buffer.tell() - read)
            read = file.buffer.tell()
    return columns


def _batches(entries: Iterable[ImportedUser | Mistake]) -> Iterator[list[ImportedUser | Mistake]]:
    batch: list[ImportedUser | Mistake] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    yield batch


def show_moves(moves: Iterable[AddressMove]) -> int:
    """Print the first addresses with a new owner, and return the number of all."""
    moved = 0
    for moved, move in enumerate(moves, 1):
        if moved <= MAX_SHOWN:
            say(f"{move.address} moves from user {move.owner} to user {move.heir}")
    if moved > MAX_SHOWN:
        say(f"and {moved - MAX_SHOWN:,} more addresses move")
    return moved
