"""Which event types the Front app sends webhooks of, as far as was seen."""

from __future__ import annotations

from collections.abc import Collection

from shared.db.pool import Connection


def add(conn: Connection, types: Collection[str]) -> set[str]:
    """Keep these types; those that were not there before."""
    rows = conn.execute(
        "INSERT INTO seen_event_types (type) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING RETURNING type",
        (sorted(types),),
    )
    return {event_type for (event_type,) in rows}


def every(conn: Connection) -> list[str]:
    """All types that came by webhook."""
    return [event_type for (event_type,) in conn.execute("SELECT type FROM seen_event_types ORDER BY type")]
