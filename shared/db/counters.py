"""Counters that outlive the processes which count, such as the number of rescued tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


def increase(conn: Connection, name: str, by: int) -> None:
    """Add to a counter. Increasing it by 0 writes nothing."""
    if by:
        conn.execute(
            "INSERT INTO counters (name, value) VALUES (%s, %s)"
            " ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value",
            (name, by),
        )


def read_counter(conn: Connection, name: str) -> int:
    """Return the value of a counter; 0 when nothing was counted yet."""
    row = conn.execute("SELECT value FROM counters WHERE name = %s", (name,)).fetchone()
    return int(row[0]) if row else 0


def read_counters(conn: Connection, prefix: str) -> dict[str, int]:
    """Return the counters whose names start with `prefix`, by the rest of the name."""
    rows = conn.execute(
        "SELECT substr(name, %s), value FROM counters WHERE starts_with(name, %s) ORDER BY name",
        (len(prefix) + 1, prefix),
    )
    return dict(rows.fetchall())
