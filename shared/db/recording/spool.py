"""The spool: deliveries that wait in PostgreSQL to be recorded.

The door adds deliveries while Redis is away, and repairs add events that were missing; the recorder takes both.
The door imports this module, so it must not import psycopg.
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
    """A delivery that waits in the spool, and its origin."""

    delivery: Delivery
    origin: Origin


def add(conn: Connection, deliveries: Sequence[Delivery]) -> None:
    """Store deliveries, all or none; one that is stored already stays as it is."""
    conn.execute(
        """
        INSERT INTO spooled_deliveries (id, received_at, body)
        SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %s::bytea[])
        ON CONFLICT DO NOTHING
        """,
        _columns(deliveries),
    )


def add_repaired(conn: Connection, deliveries: Sequence[Delivery]) -> None:
    """Store, like `add`, events of Front's list that were missing here."""
    conn.execute(
        """
        INSERT INTO spooled_deliveries (id, received_at, body, origin)
        SELECT *, 'repaired' FROM unnest(%s::uuid[], %s::timestamptz[], %s::bytea[])
        ON CONFLICT DO NOTHING
        """,
        _columns(deliveries),
    )


def check_writable(conn: Connection) -> None:
    """Raise psycopg's error unless `add` would work now: also when the table is missing or a standby answers."""
    conn.execute("INSERT INTO spooled_deliveries (id, received_at, body) SELECT NULL, NULL, NULL WHERE false")


def has_deliveries(conn: Connection) -> bool:
    """Whether anything waits in the spool."""
    row = conn.execute("SELECT EXISTS (SELECT 1 FROM spooled_deliveries)").fetchone()
    return bool(row and row[0])


def oldest(conn: Connection, limit: int) -> list[Spooled]:
    """Return the oldest `limit` deliveries, oldest first; fewer when their bodies exceed MAX_BYTES."""
    rows: Iterable[tuple[UUID, datetime, bytes, Origin]] = conn.execute(
        """
        SELECT id, received_at, body, origin FROM (
            SELECT *, sum(octet_length(body)) OVER (ORDER BY received_at, id) - octet_length(body) AS bytes_before
            FROM (SELECT * FROM spooled_deliveries ORDER BY received_at, id LIMIT %s) oldest
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


def may_have_more(spooled: Sequence[Spooled], limit: int) -> bool:
    """Whether more deliveries may wait than `oldest` returned for this limit."""
    return len(spooled) == limit or sum(len(each.delivery.body) for each in spooled) >= MAX_BYTES


def containing(conn: Connection, word: bytes, *, after: str | None, limit: int) -> list[tuple[str, bytes]]:
    """Return the next deliveries after this id with the word in their body, as (id, body), sorted by id."""
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
    """Remove deliveries, in the transaction that records them."""
    if delivery_ids:
        conn.execute("DELETE FROM spooled_deliveries WHERE id = ANY(%s::uuid[])", (list(delivery_ids),))


def _columns(deliveries: Sequence[Delivery]) -> tuple[list[str], list[datetime], list[bytes]]:
    return (
        [each.id for each in deliveries],
        [each.received_at for each in deliveries],
        [each.body for each in deliveries],
    )
