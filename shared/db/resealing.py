"""Puts tokens sealed anew in the place of the same tokens, whoever else writes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from psycopg.rows import class_row

from shared.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A tenant's token as it is stored."""

    tenant_id: int
    name: str
    secret: bytes


def count(conn: Connection) -> int:
    """How many tokens are stored."""
    row = conn.execute("SELECT count(*) FROM connections").fetchone()
    return int(row[0]) if row else 0


def batches(conn: Connection, *, size: int) -> Iterator[list[Sealed]]:
    """All stored tokens, a batch at a time; each batch is read when it is asked for."""
    after = 0
    while batch := _following(conn, after, size):
        yield batch
        after = batch[-1].tenant_id


def replace(conn: Connection, old: Mapping[int, bytes], new: Mapping[int, bytes]) -> int:
    """Store `new` for the tenants whose token still is the `old` one, byte for byte; how many.

    The version stays: it is the same token, and an attempt that reads it now must not look as if it held a stale one.
    """
    tenants = list(new)
    return conn.execute(
        """
        UPDATE connections c SET secret = k.new
        FROM unnest(%s::bigint[], %s::bytea[], %s::bytea[]) AS k(tenant_id, old, new)
        WHERE c.tenant_id = k.tenant_id AND c.secret = k.old
        """,
        (tenants, [old[tenant] for tenant in tenants], [new[tenant] for tenant in tenants]),
    ).rowcount


def _following(conn: Connection, after: int, size: int) -> list[Sealed]:
    with conn.cursor(row_factory=class_row(Sealed)) as cursor:
        return cursor.execute(
            """
            SELECT c.tenant_id, t.name, c.secret FROM connections c JOIN tenants t ON t.id = c.tenant_id
            WHERE c.tenant_id > %s ORDER BY c.tenant_id LIMIT %s
            """,
            (after, size),
        ).fetchall()
