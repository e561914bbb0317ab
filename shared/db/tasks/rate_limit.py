"""The tenants at Front's rate limit: what of theirs waits for it, and how their calls were used.

`status`, `doctor`, the metrics and the log tell the same figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.rows import class_row
from psycopg.sql import SQL

from shared.connection.budget import Budget
from shared.db.core.pool import Connection
from shared.db.tasks.capacity import FILES, LIVE, OTHERS

#: A tenant counts as at the limit for this long after its work was held back.
AT_LIMIT_SECONDS: Final = 300
#: More wasted calls than this share of those used are a fault: a backlog then takes much longer than it must.
MOST_WASTED: Final = 0.2

# Files and other work are counted apart, because each has its own index.
_HELD_BACK = SQL("""
SELECT t.id AS tenant_id, t.name AS tenant, t.company_id, t.at_limit_at AS held_back_at, due.*
FROM tenants t CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE NOT {live}) AS waiting, count(*) FILTER (WHERE {live}) AS waiting_live,
           min(created_at) AS oldest_at
    FROM (
        SELECT is_live, due_at, created_at FROM tasks
        WHERE tenant_id = t.id AND state = 'ready' AND {others} AND due_at <= now()
        UNION ALL
        SELECT is_live, due_at, created_at FROM tasks
        WHERE tenant_id = t.id AND state = 'ready' AND {files} AND due_at <= now()
    ) of_both_kinds
) due
WHERE t.at_limit_at > now() - make_interval(secs => %s) AND t.parked_cause IS NULL AND t.company_id IS NOT NULL
ORDER BY due.waiting + due.waiting_live DESC, t.id
""").format(live=LIVE, others=OTHERS, files=FILES)


@dataclass(frozen=True, kw_only=True)
class HeldBack:
    """The due tasks of a tenant whose work was held back at `held_back_at` the last time.

    `waiting` is the backlog, `waiting_live` the tasks of new events; `oldest_at` is the time of the oldest of both.
    """

    tenant_id: int
    tenant: str
    company_id: str
    held_back_at: datetime
    waiting: int
    waiting_live: int
    oldest_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class TenantAtLimit(HeldBack):
    """The same with the limit, and the calls in the last whole minute; all None while Redis is away."""

    limit: int | None = None
    used: int | None = None
    wasted: int | None = None

    @property
    def wastes_calls(self) -> bool:
        """Whether more calls were made in vain than can be put down to a few failures."""
        return bool(self.used and self.wasted and self.wasted > MOST_WASTED * self.used)


def tenants_at_limit(conn: Connection, budget: Budget) -> list[TenantAtLimit]:
    """Return the tenants whose work Front's rate limit held back lately, those with the largest backlogs first."""
    with conn.cursor(row_factory=class_row(HeldBack)) as cursor:
        held_back = cursor.execute(_HELD_BACK, (AT_LIMIT_SECONDS,)).fetchall()
    if not held_back:
        return []
    usage = budget.usage([each.company_id for each in held_back])
    return [
        TenantAtLimit(**vars(each), **(vars(usage[each.company_id]) if each.company_id in usage else {}))
        for each in held_back
    ]
