"""Imports a list of users: file to staging tables to users, in one transaction, with what was wrong kept apart."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from console.cli.output import progress, say
from console.cli.user.csv_table import Columns, encoding_of, header_of, numbered_lines, read_users
from shared.db.core.pool import Connection
from shared.db.users import user_import, users
from shared.db.users.user_import import ImportedUser, Mistake

SHOWN = 20
TOGETHER = 2_000  # lines in memory at a time


@dataclass(kw_only=True)
class Mistakes:
    """Counts wrong lines, keeps the first few to show, and writes all to a file where one is wanted."""

    file: TextIO | None
    lines: set[int] = field(default_factory=set)
    first: list[tuple[int, str]] = field(default_factory=list)

    def add(self, mistake: Mistake) -> None:
        """Take note of one."""
        what = mistake.what + ("; the rest of the line went in" if mistake.address else "")
        self.lines.add(mistake.line)
        bisect.insort(self.first, (mistake.line, what))
        del self.first[SHOWN:]
        if self.file:
            self.file.write(f"line {mistake.line}: {what}\n")


def import_file(  # noqa: PLR0913 -- what is to be done, each named at the call
    conn: Connection, tenant_id: int, path: Path, mistakes: Mistakes, *, move: bool, dry_run: bool
) -> dict[str, int]:
    """Bring the file's users in and count them by outcome; nothing stays when it is a dry run or is interrupted.

    With `move` they get addresses of users whom the file does not name; `moved` counts all that change hands.
    """
    with conn.transaction(force_rollback=dry_run), _opened(path) as file:
        users.lock(conn, tenant_id)
        user_import.create_staging_tables(conn)
        columns = _stage(conn, file, path.stat().st_size, mistakes)
        for mistake in user_import.remove_repeated_lines(conn):
            mistakes.add(mistake)
        for mistake in user_import.remove_taken_addresses(conn, tenant_id, move=move):
            mistakes.add(mistake)
        moved = _told_moves(conn, tenant_id)
        user_import.delete_old_addresses(conn, tenant_id)
        with progress("writing", user_import.count_lines(conn)) as advance:
            for written in user_import.write_users(conn, tenant_id, with_actions=columns.action is not None):
                advance(written)
        return {**user_import.count_outcomes(conn), "moved": moved}


def _told_moves(conn: Connection, tenant_id: int) -> int:
    """How many addresses change hands; the first are named."""
    moved = 0
    for moved, move in enumerate(user_import.moves(conn, tenant_id), 1):
        if moved <= SHOWN:
            say(f"{move.address} moves from user {move.owner} to user {move.heir}")
    if moved > SHOWN:
        say(f"and {moved - SHOWN:,} more addresses move")
    return moved


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    encoding = encoding_of(path)
    if encoding != "utf-8-sig":
        say(f"{path.name} is not UTF-8; read as {encoding}")
    with path.open(encoding=encoding, newline="") as file:
        yield file


def _stage(conn: Connection, file: TextIO, size: int, mistakes: Mistakes) -> Columns:
    lines = numbered_lines(file)
    columns = header_of(lines)
    if columns.ignored:
        say(f"ignored columns: {', '.join(columns.ignored)}")
    with progress("reading", size) as advance:
        read = 0
        for batch in _batches(read_users(lines, columns)):
            user_import.stage(conn, [entry for entry in batch if isinstance(entry, ImportedUser)])
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
        if len(batch) == TOGETHER:
            yield batch
            batch = []
    yield batch
