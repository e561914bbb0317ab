"""Groups of tasks that failed in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from shared.models import MOST_COUNTED

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from shared.db.reading.filters import Filter


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """A group as people see it; `failed` counts its tasks that are failed now, up to one more than MOST_COUNTED."""

    id: int
    tenant_id: int | None
    tenant: str | None
    kind: str
    code: str
    signature: str
    first_seen: datetime
    last_seen: datetime
    state: str
    regressed_at: datetime | None
    ignored_until: datetime | None
    state_by: str | None
    state_at: datetime | None
    note: str
    failed: int


QUERY = f"""
    SELECT g.*, t.name AS tenant,
        (SELECT count(*) FROM (SELECT FROM tasks k WHERE k.failure_group_id = g.id AND k.state = 'failed'
                               LIMIT {MOST_COUNTED + 1}) counted) AS failed
    FROM failure_groups g LEFT JOIN tenants t ON t.id = g.tenant_id
"""  # noqa: S608 -- a number of ours
# An ignored group is open again once its time is over, and a group without failed tasks is only shown by its state.
_LISTED = """
    WHERE (%(tenant_id)s::bigint IS NULL OR g.tenant_id = %(tenant_id)s)
      AND (%(code)s::text IS NULL OR g.code = %(code)s) AND (%(kind)s::text IS NULL OR g.kind = %(kind)s)
      AND (%(since)s::timestamptz IS NULL OR g.last_seen >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR g.first_seen < %(until)s)
      AND (%(before)s::timestamptz IS NULL OR (g.last_seen, g.id) < (%(before)s, %(before_id)s::bigint))
      AND CASE WHEN %(state)s::text IS NOT NULL THEN g.state = %(state)s
               ELSE (g.state IN ('open', 'acknowledged') OR g.state = 'ignored' AND g.ignored_until < now())
                    AND EXISTS (SELECT FROM tasks k WHERE k.failure_group_id = g.id AND k.state = 'failed') END
    ORDER BY g.last_seen DESC, g.id DESC LIMIT %(limit)s
"""


def latest(
    conn: Connection, wanted: Filter, *, limit: int, before: tuple[datetime, int] | None = None
) -> list[FailureGroup]:
    """Return the groups that match, the one that failed last first; without a state, those that need somebody.

    Of the filter the tenant, state, code, kind and times count: a group that failed between them. `before`: only groups
    seen last before that time, and those seen at that time with a smaller id.
    """
    moment, number = before or (None, 0)
    with conn.cursor(row_factory=class_row(FailureGroup)) as cursor:
        values = {**wanted.values(), "before": moment, "before_id": number, "limit": limit}
        return cursor.execute(QUERY + _LISTED, values).fetchall()


def get(conn: Connection, group_id: int) -> FailureGroup | None:
    """Return one group."""
    with conn.cursor(row_factory=class_row(FailureGroup)) as cursor:
        return cursor.execute(QUERY + " WHERE g.id = %s", (group_id,)).fetchone()
