"""People ask for repairs, and stop them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shared.db.pool import Connection


def ask(conn: Connection, tenant_ids: Sequence[int], *, since: datetime, dry_run: bool, who: str) -> list[int]:
    """Ask for a repair of each of these tenants; their ids."""
    rows = conn.execute(
        """
        INSERT INTO repairs (tenant_id, asked_since, dry_run, requested_by)
        SELECT id, %s, %s, %s FROM unnest(%s::bigint[]) AS wanted(id) ORDER BY id RETURNING id
        """,
        (since, dry_run, who, list(tenant_ids)),
    )
    return [repair_id for (repair_id,) in rows]


def stop(conn: Connection, tenant_id: int | None, *, who: str) -> int:
    """End what runs or waits, of one tenant or of all; how many. What was fed so far stays."""
    return conn.execute(
        """
        UPDATE repairs SET state = 'stopped', settled_at = now(), claimed_until = NULL, next_page = NULL, code = NULL,
               detail = %(who)s
        WHERE state IN ('waiting', 'running') AND tenant_id = coalesce(%(tenant)s, tenant_id)
        """,
        {"tenant": tenant_id, "who": f"stopped by {who}"},
    ).rowcount
