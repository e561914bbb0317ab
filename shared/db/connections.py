"""Connections: a tenant's sealed grant and its version."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row

from shared.errors import BeingErased
from shared.models import Grant

if TYPE_CHECKING:
    from shared.db.pool import Connection


#: Front gives a new refresh token in the last 24 hours of the old one's half year: a day may never pass without asking.
KEEP_ALIVE_AFTER = timedelta(hours=12)


GRANTS = """
    SELECT c.tenant_id, t.company_id, c.kind, c.secret, c.version, c.expires_at, c.updated_at
    FROM connections c JOIN tenants t ON t.id = c.tenant_id
"""


def connect(
    conn: Connection,
    tenant_id: int,
    *,
    kind: Literal["api_token", "oauth"],
    secret: bytes,
    expires_at: datetime | None = None,
) -> int:
    """Give the tenant this grant in place of any older one, release what waited for it, and return its version.

    `connected_at` is that of the first connection: events between two connections may still be acted on.
    Raises BeingErased; then the transaction must not be committed.
    """
    row = conn.execute(
        """
        INSERT INTO connections AS c (tenant_id, kind, secret, expires_at, keep_alive_at)
        VALUES (%(tenant)s, %(kind)s, %(secret)s, %(expires)s,
                CASE %(kind)s WHEN 'oauth' THEN now() + %(keep_alive)s END)
        ON CONFLICT (tenant_id) DO UPDATE SET kind = excluded.kind, secret = excluded.secret,
            expires_at = excluded.expires_at, version = c.version + 1, updated_at = now(),
            refreshing_until = NULL, keep_alive_at = excluded.keep_alive_at
        RETURNING version
        """,
        {
            "tenant": tenant_id,
            "kind": kind,
            "secret": secret,
            "expires": expires_at,
            "keep_alive": KEEP_ALIVE_AFTER,
        },
    ).fetchone()
    released = conn.execute(
        """
        UPDATE tenants SET connected_at = coalesce(connected_at, now()),
            parked_cause = CASE WHEN parked_cause = 'paused' THEN parked_cause END,
            parked_at = CASE WHEN parked_cause = 'paused' THEN parked_at END
        WHERE id = %s AND parked_cause IS DISTINCT FROM 'erasing'
        """,
        (tenant_id,),
    )
    if not released.rowcount:
        raise BeingErased("the tenant is being erased; add it anew when that is done")
    return int(row[0]) if row else 0


def read(conn: Connection, tenant_id: int) -> Grant | None:
    """The tenant's grant as it stands now."""
    with conn.cursor(row_factory=class_row(Grant)) as cursor:
        return cursor.execute(GRANTS + " WHERE c.tenant_id = %s", (tenant_id,)).fetchone()


def another(conn: Connection, tenant_id: int) -> Grant | None:
    """The grant of another tenant that may be used now, best of one that Front answered lately."""
    query = f"""{GRANTS}
    WHERE c.tenant_id <> %s AND coalesce(t.parked_cause, 'missing_scope') = 'missing_scope' AND t.not_before <= now()
    ORDER BY EXISTS (SELECT FROM unanswered_tasks u JOIN tasks ON tasks.id = u.task_id WHERE tasks.tenant_id = t.id),
        t.last_served_at DESC
    LIMIT 1
    """
    with conn.cursor(row_factory=class_row(Grant)) as cursor:
        return cursor.execute(query, (tenant_id,)).fetchone()
