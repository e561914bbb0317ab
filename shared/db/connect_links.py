"""Connect links: which tenant each is for, and what became of it. Their text is never here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row

if TYPE_CHECKING:
    from shared.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class ConnectLink:
    """A link as it stands now."""

    tenant_id: int
    tenant: str
    state: Literal["open", "expired", "used", "replaced"]


def add(conn: Connection, tenant_id: int, digest: bytes, *, valid_for: timedelta) -> datetime:
    """Make the tenant's only open link; gives its end. Call in a transaction: older ones end here."""
    # Two at once: the second waits here, then ends the first one's link.
    conn.execute("SELECT FROM tenants WHERE id = %s FOR NO KEY UPDATE", (tenant_id,))
    conn.execute("UPDATE connect_links SET ended = 'replaced' WHERE tenant_id = %s AND ended IS NULL", (tenant_id,))
    row = conn.execute(
        "INSERT INTO connect_links (digest, tenant_id, expires_at) VALUES (%s, %s, now() + %s) RETURNING expires_at",
        (digest, tenant_id, valid_for),
    ).fetchone()
    if row is None:
        raise RuntimeError("INSERT … RETURNING gave no row")
    expires_at: datetime = row[0]
    return expires_at


def find(conn: Connection, digest: bytes) -> ConnectLink | None:
    """The link with this digest, good or not."""
    with conn.cursor(row_factory=class_row(ConnectLink)) as cursor:
        return cursor.execute(
            """
            SELECT l.tenant_id, t.name AS tenant,
                coalesce(l.ended, CASE WHEN l.expires_at <= now() THEN 'expired' ELSE 'open' END) AS state
            FROM connect_links l JOIN tenants t ON t.id = l.tenant_id WHERE l.digest = %s
            """,
            (digest,),
        ).fetchone()
