"""An array of any values arrives in PostgreSQL unchanged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import psycopg
import pytest

from shared.db.core.arrays import Bigints, Bodies, Booleans, Column, Ids, Texts, Times

NOON = datetime(2026, 11, 23, 12, 0, 0, 123457, tzinfo=UTC)
BEFORE_2000 = datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=timezone(timedelta(hours=5)))


@pytest.mark.parametrize(
    ("column", "element"),
    [
        (Texts(["a", "", None, "NULL", '{"\\,}', "Sørensen 👋"]), "text"),
        (
            Texts(["x" * length for length in (255, 256, 70_000)]),
            "text",
        ),  # lengths with and without a precomputed prefix
        (Texts([]), "text"),
        (Bigints([0, -1, 2**63 - 1, -(2**63)]), "bigint"),
        (Bigints([7, None]), "bigint"),
        (Booleans([True, False, None]), "boolean"),
        (Times([NOON, BEFORE_2000, None]), "timestamptz"),
        (Times([NOON]), "timestamptz"),
        (Bodies([b"\0\xff", b"", None]), "bytea"),
    ],
)
def test_a_column_arrives_as_it_was_sent(database_url: str, column: Column[Any], element: str) -> None:
    assert _echoed(database_url, column, element) == list(column)


def test_ids_are_uuids(database_url: str) -> None:
    id_ = "0123456789abcdef" * 2
    assert _echoed(database_url, Ids([id_, None]), "uuid") == [UUID(id_), None]


@pytest.mark.parametrize(
    ("column", "refusal"),
    [
        (Texts(["\0"]), psycopg.DataError),
        (Texts(["\ud800"]), UnicodeEncodeError),
    ],
)
def test_a_text_that_postgresql_cannot_hold_is_refused(
    database_url: str, column: Texts, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        _echoed(database_url, column, "text")


def _echoed(database_url: str, column: Column[Any], element: str) -> list[Any]:
    with psycopg.connect(database_url) as conn:
        row = conn.execute(f"SELECT %s::{element}[]", (column,)).fetchone()
        assert row is not None
        found: list[Any] = row[0]
        return found
