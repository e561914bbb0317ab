"""The spool: where the door puts deliveries while Redis is away, repairs what was missing; the recorder takes them.

The door imports this file: psycopg itself must not come with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import Connection

    from shared.models import Origin


MAX_BYTES = 4 * 2**20  # of bodies read at once; a single larger one is read alone


@dataclass(frozen=True, kw_only=True)
class Spooled:
    """A delivery that waits in the spool, and who put it there."""

    delivery: Delivery
    origin: Origin


def add(conn: Connection, deliveries: Sequence[Delivery]) -> None:
    """Keep deliveries, all or none; one that is there already stays as it is."""
    conn.execute(
        """
        INSERT INTO spooled_deliveries (id, received_at, body)
        SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %s::bytea[])
        ON CONFLICT DO NOTHING
        """,
        _columns(deliveries),
    )


def feed(conn: Connection, deliveries: Sequence[Delivery]) -> None:
    """Keep what Front's event list had and we had not; like `add`."""
    conn.execute(
        """
        INSERT INTO spooled_deliveries (id, received_at, body, origin)
        SELECT *, 'repaired' FROM unnest(%s::uuid[], %s::timestamptz[], %s::bytea[])
        ON CONFLICT DO NOTHING
        """,
        _columns(deliveries),
    )


def _columns(deliveries: Sequence[Delivery]) -> tuple[list[str], list[datetime], list[bytes]]:
    return (
        [each.id for each in deliveries],
        [each.received_at for each in deliveries],
        [each.body for each in deliveries],
    )


def check_writable(conn: Connection) -> None:
    """Raise psycopg's error unless `add` would work now: also where the table is missing or a standby answers."""
    conn.execute("INSERT INTO spooled_deliveries (id, received_at, body) SELECT NULL, NULL, NULL WHERE false")


def oldest(conn: Connection, limit: int) -> list[Spooled]:
    """The first `limit` deliveries in the order they came, fewer where the bodies are large."""
    rows: Iterable[tuple[UUID, datetime, bytes, Origin]] = conn.execute(
        """
        SELECT id, received_at, body, origin FROM (
            SELECT *, sum(octet_length(body)) OVER (ORDER BY received_at, id) - octet_length(body) AS bytes_before
            FROM (SELECT * FROM spooled_deliveries ORDER BY received_at, id LIMIT %s) first_come
        ) counted
        WHERE bytes_before < %s
        ORDER BY received_at, id
        """,
        (limit, MAX_BYTES),
    )
    return [
        Spooled(delivery=Delivery(id=id_.hex, received_at=received_at, body=body), origin=origin)
        for id_, received_at, body, origin in rows
    ]


def fills(spooled: Sequence[Spooled], limit: int) -> bool:
    """Whether `oldest` may have left some behind these."""
    return len(spooled) == limit or sum(len(each.delivery.body) for each in spooled) >= MAX_BYTES


def mentioning(conn: Connection, word: bytes, *, after: str | None, limit: int) -> list[tuple[str, bytes]]:
    """Id and body of deliveries that hold these bytes, in order of the ids, beginning behind one of them."""
    rows = conn.execute(
        """
        SELECT id, body FROM spooled_deliveries
        WHERE (%(after)s::uuid IS NULL OR id > %(after)s::uuid) AND position(%(word)s::bytea IN body) > 0
        ORDER BY id LIMIT %(limit)s
        """,
        {"after": after, "word": word, "limit": limit},
    )
    return [(delivery_id.hex, body) for delivery_id, body in rows]


def delete(conn: Connection, delivery_ids: Sequence[str]) -> None:
    """Remove deliveries whose rows are written in the same transaction."""
    if delivery_ids:
        conn.execute("DELETE FROM spooled_deliveries WHERE id = ANY(%s::uuid[])", (list(delivery_ids),))
