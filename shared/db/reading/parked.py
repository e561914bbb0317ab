"""What is parked: for which cause, how much, of how many, since when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from shared.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class Parked:
    """All that waits for one cause. `companies` counts tenants too, also those that nothing waits for.

    `oldest_at`: when the first event came of an unknown company, else when the first tenant was parked.
    """

    cause: str
    events: int
    tasks: int
    companies: int
    oldest_at: datetime


PARKED = """
    SELECT 'unknown_company' AS cause, count(*) AS events, 0 AS tasks, count(DISTINCT company_id) AS companies,
        min(received_at) AS oldest_at
    FROM events WHERE state = 'parked' AND tenant_id IS NULL HAVING count(*) > 0
    UNION ALL
    (SELECT t.parked_cause, coalesce(sum(e.count), 0)::bigint, coalesce(sum(k.count), 0)::bigint, count(*),
        coalesce(min(t.parked_at), min(t.created_at))
    FROM tenants t
    LEFT JOIN (SELECT tenant_id, count(*) FROM events WHERE state = 'processing' GROUP BY 1) e ON e.tenant_id = t.id
    LEFT JOIN (SELECT tenant_id, count(*) FROM tasks WHERE state IN ('ready', 'queued') GROUP BY 1) k
        ON k.tenant_id = t.id
    WHERE t.parked_cause IS NOT NULL GROUP BY t.parked_cause ORDER BY 2 DESC, 1)
"""
WAITING = """
    SELECT t.name, count(*) FROM tenants t JOIN tasks k ON k.tenant_id = t.id AND k.state IN ('ready', 'queued')
    WHERE t.parked_cause IS NOT NULL GROUP BY t.name
"""


def parked(conn: Connection) -> list[Parked]:
    """What is parked, by cause."""
    with conn.cursor(row_factory=class_row(Parked)) as cursor:
        return cursor.execute(PARKED).fetchall()


def waiting_tasks(conn: Connection) -> dict[str, int]:
    """How many tasks wait for each parked tenant, by its name; those without any are left out."""
    return dict(conn.execute(WAITING).fetchall())
