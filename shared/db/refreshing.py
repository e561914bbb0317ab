"""Refreshing a connection's OAuth tokens: who may ask Front for new ones, and what came of it.

Whoever asks has claimed it for some seconds; no row is locked meanwhile. What it brings back is stored unless another
grant has taken the place of the one it asked with, whoever asked in between.
"""

from __future__ import annotations

from datetime import datetime

from shared.db import rescue
from shared.db.connections import KEEP_ALIVE_AFTER
from shared.db.pool import Connection
from shared.errors import NeedsReconnect, TokenUnavailable
from shared.models import Grant


def claim(conn: Connection, grant: Grant, *, seconds: float) -> bool:
    """Be the one who refreshes this grant for so long; False when somebody else is, or has."""
    return (
        conn.execute(
            """
            UPDATE connections SET refreshing_until = clock_timestamp() + make_interval(secs => %s)
            WHERE tenant_id = %s AND version = %s
              AND (refreshing_until IS NULL OR refreshing_until < clock_timestamp())
            """,
            (seconds, grant.tenant_id, grant.version),
        ).rowcount
        == 1
    )


def postpone(conn: Connection, grant: Grant, *, seconds: float) -> None:
    """Let nobody ask again for so long: Front did not answer, or not now."""
    conn.execute(
        "UPDATE connections SET refreshing_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE tenant_id = %s AND version = %s",
        (seconds, grant.tenant_id, grant.version),
    )
    _count(conn, TokenUnavailable.code)


def store(conn: Connection, grant: Grant, *, secret: bytes, expires_at: datetime) -> None:
    """Put new tokens in the place of this grant's, unless it has been replaced.

    It may have been found useless meanwhile, while these were on their way: then what waited is released.
    """
    stored = conn.execute(
        """
        UPDATE connections SET secret = %s, expires_at = %s, version = version + 1, updated_at = now(),
               refreshing_until = NULL, keep_alive_at = now() + %s
        WHERE tenant_id = %s AND version = %s
        """,
        (secret, expires_at, KEEP_ALIVE_AFTER, grant.tenant_id, grant.version),
    )
    if stored.rowcount:
        # Whatever its cause: this waits for somebody who parks it just now, with the old version before their eyes.
        conn.execute(
            """
            UPDATE tenants SET parked_cause = nullif(parked_cause, %(cause)s),
                   parked_at = CASE WHEN parked_cause IS DISTINCT FROM %(cause)s THEN parked_at END
            WHERE id = %(tenant)s
            """,
            {"tenant": grant.tenant_id, "cause": NeedsReconnect.code},
        )
        _count(conn, "ok")


def refuse(conn: Connection, grant: Grant) -> bool:
    """Front refuses this grant for good: park its tenant and ask no more. False when it has been replaced."""
    refused = conn.execute(
        "UPDATE connections SET refreshing_until = NULL, keep_alive_at = 'infinity'"
        " WHERE tenant_id = %s AND version = %s",
        (grant.tenant_id, grant.version),
    )
    if refused.rowcount:
        rescue.park(conn, grant.tenant_id, NeedsReconnect.code, token_version=grant.version, probe_seconds=0.0)
        _count(conn, NeedsReconnect.code)
    return refused.rowcount == 1


def pick_idle(conn: Connection, *, again_seconds: float, limit: int = 50) -> list[int]:
    """Tenants whose tokens were not refreshed for long; each is picked again after `again_seconds` until they are."""
    rows = conn.execute(
        """
        UPDATE connections SET keep_alive_at = now() + make_interval(secs => %s)
        WHERE tenant_id IN (SELECT tenant_id FROM connections WHERE keep_alive_at <= now()
                            ORDER BY keep_alive_at LIMIT %s FOR UPDATE SKIP LOCKED)
        RETURNING tenant_id
        """,
        (again_seconds, limit),
    )
    return [tenant_id for (tenant_id,) in rows]


def _count(conn: Connection, result: str) -> None:
    """Count a call of the token endpoint: the last lock of its transaction, since all tenants share the row."""
    rescue.count(conn, f"token_refreshes:{result}", 1)
