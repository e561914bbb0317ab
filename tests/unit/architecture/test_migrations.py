"""Which migrations are still to be applied, and that an applied one never changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from shared.db.migrate import Migration, MigrationChanged, known, pending

FIRST = Migration(name="0001_initial", sql="CREATE TABLE a ();")
SECOND = Migration(name="0002_more", sql="CREATE TABLE b ();")


class Answer:
    """Rows that were waiting."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows

    def fetchone(self) -> tuple[Any, ...]:
        return self._rows[0]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)


class Database:
    """Knows which migrations were applied; None: not even the table of them."""

    def __init__(self, applied: dict[str, str] | None) -> None:
        self._applied = applied

    def execute(self, statement: str) -> Answer:
        if "to_regclass" in statement:
            return Answer([(self._applied is not None,)])
        return Answer(list((self._applied or {}).items()))


@pytest.mark.parametrize(
    ("applied", "todo"),
    [
        (None, [FIRST, SECOND]),
        ({}, [FIRST, SECOND]),
        ({FIRST.name: FIRST.checksum}, [SECOND]),
        ({FIRST.name: FIRST.checksum, SECOND.name: SECOND.checksum}, []),
        # A newer release was here: its migrations are not ours to judge
        ({FIRST.name: FIRST.checksum, "0003_newer": "?"}, [SECOND]),
    ],
)
def test_what_is_missing_is_applied_in_order(applied: dict[str, str] | None, todo: list[Migration]) -> None:
    assert pending(cast("Any", Database(applied)), [FIRST, SECOND]) == todo


def test_an_applied_file_that_was_edited_is_refused_by_name() -> None:
    with pytest.raises(MigrationChanged, match="0001_initial"):
        pending(cast("Any", Database({FIRST.name: SECOND.checksum})), [FIRST, SECOND])


def test_migrations_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("0010_last", "0002_second", "0001_first"):
        (tmp_path / f"{name}.sql").write_text(f"-- {name}")
    (tmp_path / "notes.md").write_text("no migration")
    assert [migration.name for migration in known(tmp_path)] == ["0001_first", "0002_second", "0010_last"]


def test_every_migration_of_this_release_has_the_next_number() -> None:
    numbers = [re.match(r"(\d{4})_[a-z_]+$", migration.name) for migration in known()]
    assert [number and int(number[1]) for number in numbers] == list(range(1, len(numbers) + 1))
