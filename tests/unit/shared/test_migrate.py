"""Pending migrations run in order, an applied one never changes, and the wheel contains all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

from shared.db.core.migrate import MIGRATIONS, Migration, MigrationChanged, known, pending

ROOT = Path(__file__).parents[3]
SCHEMA = MIGRATIONS.with_name("schema.sql")

FIRST = Migration(name="0001_initial", sql="CREATE TABLE a ();")
SECOND = Migration(name="0002_more", sql="CREATE TABLE b ();")


class Answer:
    """The result of a statement."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows

    def fetchone(self) -> tuple[Any, ...]:
        return self._rows[0]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)


class Database:
    """A database with these migrations applied; with None it has no migrations table."""

    def __init__(self, applied: dict[str, str] | None) -> None:
        self._applied = applied

    def execute(self, statement: str) -> Answer:
        if "to_regclass" in statement:
            return Answer([(self._applied is not None,)])
        return Answer(list((self._applied or {}).items()))


@pytest.mark.parametrize(
    ("applied", "expected"),
    [
        (None, [FIRST, SECOND]),
        ({}, [FIRST, SECOND]),
        ({FIRST.name: FIRST.checksum}, [SECOND]),
        ({FIRST.name: FIRST.checksum, SECOND.name: SECOND.checksum}, []),
        # A newer release applied a migration that this one does not know
        ({FIRST.name: FIRST.checksum, "0003_newer": "?"}, [SECOND]),
    ],
)
def test_missing_migrations_are_pending_in_order(applied: dict[str, str] | None, expected: list[Migration]) -> None:
    assert pending(cast("Any", Database(applied)), [FIRST, SECOND]) == expected


@pytest.mark.parametrize("edited", [FIRST, SECOND], ids=lambda edited: edited.name)
def test_an_applied_file_that_was_edited_is_refused_by_name(edited: Migration) -> None:
    with pytest.raises(MigrationChanged, match=f"{edited.name} was applied with other content; undo the edit"):
        pending(cast("Any", Database({edited.name: "another"})), [FIRST, SECOND])


def test_only_an_edited_first_file_suggests_a_new_database() -> None:
    with pytest.raises(MigrationChanged, match=r"delete the folder \.mailroom, or the database, and start again"):
        pending(cast("Any", Database({FIRST.name: "another"})), [FIRST, SECOND])
    with pytest.raises(MigrationChanged, match=r"add a new file$"):
        pending(cast("Any", Database({SECOND.name: "another"})), [FIRST, SECOND])


def test_migrations_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("0010_last", "0002_second", "0001_first"):
        (tmp_path / f"{name}.sql").write_text(f"-- {name}")
    (tmp_path / "notes.md").write_text("no migration")
    assert [migration.name for migration in known(tmp_path)] == ["0001_first", "0002_second", "0010_last"]


def test_every_migration_of_this_release_has_a_higher_number() -> None:
    """A number that was given out and not used leaves a gap."""
    found = [re.match(r"(\d{4})_[a-z_]+(_after_\d{4})?$", migration.name) for migration in known()]
    assert all(found)
    values = [int(number[1]) for number in found if number]
    assert values == sorted(set(values))
    assert values[0] == 1


def test_the_wheel_has_every_sql_file(tmp_path: Path) -> None:
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    packed = {name for name in ZipFile(wheel).namelist() if name.endswith(".sql")}
    assert packed == {path.relative_to(ROOT).as_posix() for path in (ROOT / "shared").rglob("*.sql")}
    assert {path.name for path in (SCHEMA, *MIGRATIONS.glob("*.sql"))} == {Path(name).name for name in packed}


def test_the_first_migration_is_a_file_of_its_own() -> None:
    assert not (MIGRATIONS / f"{known()[0].name}.sql").samefile(SCHEMA)
