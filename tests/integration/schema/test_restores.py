"""The SQL of restores: whether an event may have been acted on before one."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest


def may_have_acted(conn: psycopg.Connection[Any], emitted: str) -> bool:
    query = "SELECT may_have_acted_before(%s::timestamptz)"
    return bool(conn.execute(query, (emitted,)).fetchone() == (True,))


def test_without_a_restore_nothing_was_done_that_rows_do_not_tell(conn: psycopg.Connection[Any]) -> None:
    assert not may_have_acted(conn, "2020-01-01 00:00 UTC")


@pytest.mark.parametrize(
    ("emitted", "unclear"),
    [
        ("2026-03-01 08:00 UTC", True),
        ("2026-03-02 09:00:05 UTC", True),  # Front's clock may be ahead
        ("2026-03-02 09:00:06 UTC", False),
    ],
)
def test_an_event_from_before_the_latest_restore_may_have_been_acted_on(
    conn: psycopg.Connection[Any], emitted: str, unclear: bool
) -> None:
    conn.execute(
        "INSERT INTO restores (at, backup_at) VALUES ('2026-03-01 07:00 UTC', '2026-03-01 UTC'),"
        " ('2026-03-02 09:00 UTC', '2026-03-02 UTC')"
    )
    assert may_have_acted(conn, emitted) is unclear
