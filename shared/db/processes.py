"""Who is running: each process says so every few seconds."""

from __future__ import annotations

from shared.db.pool import Connection


def beat(conn: Connection, name: str, kind: str, slots: int = 0) -> None:
    """This process is alive and runs `slots` tasks at a time."""
    conn.execute(
        """
        INSERT INTO processes (name, kind, slots) VALUES (%s, %s, %s)
        ON CONFLICT (name) DO UPDATE SET slots = excluded.slots, seen_at = now()
        """,
        (name, kind, slots),
    )


def leave(conn: Connection, name: str) -> None:
    """This process is stopping."""
    conn.execute("DELETE FROM processes WHERE name = %s", (name,))


def forget(conn: Connection) -> None:
    """Drop those not seen for an hour."""
    conn.execute("DELETE FROM processes WHERE seen_at < now() - interval '1 hour'")
