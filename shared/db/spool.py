"""The spool: where the door puts deliveries while Redis is away, and the recorder takes them from.

The door imports this file: psycopg itself must not come with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import Connection

MAX_BYTES = 4 * 2**20  # of bodies read at once; a single larger one is read alone


def add(conn: Connection, deliveries: Sequence[Delivery]) -> None:
    """Keep deliveries, all or none; one that is there already stays as it is."""
    conn.execute(
        """
        INSERT INTO spooled_deliveries (id, received_at, body)
        SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %s::bytea[])
        ON CONFLICT DO NOTHING
        """,
        (
            [each.id for each in deliveries],
            [each.received_at for each in deliveries],
            [each.body for each in deliveries],
        ),
    )


def check_writable(conn: Connection) -> None:
    """Raise psycopg's error unless `add` would work now: also where the table is missing or a standby answers."""
    conn.execute("INSERT INTO spooled_deliveries (id, received_at, body) SELECT NULL, NULL, NULL WHERE false")


def oldest(conn: Connection, limit: int) -> list[Delivery]:
    """The first `limit` deliveries in the order they came, fewer where the bodies are large."""
    rows: Iterable[tuple[UUID, datetime, bytes]] = conn.execute(
        """
        SELECT id, received_at, body FROM (
            SELECT *, sum(octet_length(body)) OVER (ORDER BY received_at, id) - octet_length(body) AS bytes_before
            FROM (SELECT * FROM spooled_deliveries ORDER BY received_at, id LIMIT %s) first_come
        ) counted
        WHERE bytes_before < %s
        ORDER BY received_at, id
        """,
        (limit, MAX_BYTES),
    )
    return [Delivery(id=id_.hex, received_at=received_at, body=body) for id_, received_at, body in rows]


def delete(conn: Connection, delivery_ids: Sequence[str]) -> None:
    """Remove deliveries whose rows are written in the same transaction."""
    conn.execute("DELETE FROM spooled_deliveries WHERE id = ANY(%s::uuid[])", (list(delivery_ids),))
