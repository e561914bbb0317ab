"""Notes what is being recorded, so that a delivery that kills the recorder is found and tried alone."""

from __future__ import annotations

from collections.abc import Sequence

from shared.db.arrays import Texts
from shared.db.pool import Connection


def mark(conn: Connection, entry_ids: Sequence[str]) -> None:
    """Note that these are being recorded. Survives the recorder, not a crash of PostgreSQL: the table is unlogged."""
    conn.execute("SET LOCAL synchronous_commit = off")
    conn.execute(
        """
        INSERT INTO in_flight_entries (entry_id) SELECT unnest(%s::text[])
        ON CONFLICT (entry_id) DO UPDATE SET tries = in_flight_entries.tries + 1
        """,
        (Texts(entry_ids),),
    )


def forgive(conn: Connection, entry_ids: Sequence[str]) -> None:
    """The recorder outlived its last try of these. They stay marked, so that each is tried alone."""
    conn.execute(
        "UPDATE in_flight_entries SET tries = greatest(tries - 1, 0) WHERE entry_id = ANY(%s)", (Texts(entry_ids),)
    )


def unmark(conn: Connection, entry_ids: Sequence[str]) -> None:
    """These are recorded."""
    conn.execute("DELETE FROM in_flight_entries WHERE entry_id = ANY(%s)", (Texts(entry_ids),))


def marked(conn: Connection) -> dict[str, int]:
    """What was being recorded when a recorder died or gave up, and how many died of it."""
    return dict(conn.execute("SELECT entry_id, tries FROM in_flight_entries").fetchall())
