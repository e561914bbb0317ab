"""Repairs: asked for, dispatched, claimed by a worker, counted page by page, and settled.

Every write of a worker names its claim. A worker whose repair was stopped or given to another one gets `Fenced`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import UniqueViolation
from psycopg.rows import class_row
from psycopg.sql import SQL, Composed, Literal
from psycopg.types.json import Jsonb

from shared.db.core.pool import Connection
from shared.db.tasks.capacity import ALIVE, ASSUMED_SLOTS, LOST, TOOK_MESSAGES_SECONDS
from shared.db.tasks.dispatching import RESEND_SECONDS
from shared.errors import Fenced

Hours = dict[str, list[int]]

#: One in so many of the workers' slots may repair; the rest is for live work.
SHARE = 4
#: At most this many periodic repairs are asked for at once.
ROUND = 50

_OURS = SQL("id = %(id)s AND state = 'running' AND claims = %(claims)s")
_SET_SETTLED = SQL("settled_at = now(), claimed_until = NULL, next_page = NULL, code = %(code)s, detail = %(detail)s")
_SET_WAITING = SQL("""
state = 'waiting', due_at = now() + make_interval(secs => %(seconds)s), claimed_until = NULL,
code = %(code)s, detail = %(detail)s
""")
_CLAIM = """
UPDATE repairs r SET state = 'running', claims = claims + 1, worker = %(worker)s,
       claimed_until = now() + make_interval(secs => %(seconds)s), started_at = coalesce(started_at, now()),
       code = NULL, detail = NULL
FROM tenants t
WHERE r.id = %(id)s AND r.state = 'waiting' AND r.due_at <= now() AND t.id = r.tenant_id
  AND t.parked_cause IS NULL AND t.connected_at IS NOT NULL AND t.company_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM repairs o WHERE o.tenant_id = r.tenant_id AND o.state = 'running')
"""
_READ = """
SELECT r.id, r.tenant_id, t.company_id, t.connected_at, m.repaired_until, r.asked_since, r.dry_run, r.claims,
       r.failures, r.since, r.until, r.position, r.next_page, r.pages, r.hours
FROM repairs r JOIN tenants t ON t.id = r.tenant_id LEFT JOIN repair_progress m ON m.tenant_id = r.tenant_id
WHERE r.id = %s
"""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """A claimed repair.

    `asked_since` is the start that a person asked for. Earlier repairs compared all events before `repaired_until`.
    """

    id: int
    tenant_id: int
    company_id: str
    connected_at: datetime
    repaired_until: datetime | None
    asked_since: datetime | None
    dry_run: bool
    claims: int
    failures: int
    since: datetime | None
    until: datetime | None
    position: datetime | None
    next_page: str | None
    pages: int
    hours: Hours


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The results of one page; `pages` counts the pages before it."""

    pages: int
    seen: int
    missing: int
    hours: Mapping[str, tuple[int, int]]
    position: datetime | None
    next_page: str | None


def request_repairs(
    conn: Connection, tenant_ids: Sequence[int], *, since: datetime, dry_run: bool, who: str
) -> list[int]:
    """Ask for a repair of each of these tenants; return the ids of the repairs."""
    rows = conn.execute(
        """
        INSERT INTO repairs (tenant_id, asked_since, dry_run, requested_by)
        SELECT id, %s, %s, %s FROM unnest(%s::bigint[]) AS listed(id) ORDER BY id RETURNING id
        """,
        (since, dry_run, who, list(tenant_ids)),
    )
    return [repair_id for (repair_id,) in rows]


def stop_repairs(conn: Connection, tenant_id: int | None, *, who: str) -> int:
    """Stop the open repairs of one tenant or of all; return their number. Deliveries fed so far stay."""
    return conn.execute(
        """
        UPDATE repairs SET state = 'stopped', settled_at = now(), claimed_until = NULL, next_page = NULL, code = NULL,
               detail = %(who)s
        WHERE state IN ('waiting', 'running') AND tenant_id = coalesce(%(tenant)s, tenant_id)
        """,
        {"tenant": tenant_id, "who": f"stopped by {who}"},
    ).rowcount


def request_periodic(conn: Connection, *, every_seconds: float) -> int:
    """Ask for repairs of the tenants that are due for a periodic one; return their number."""
    return conn.execute(
        """
        WITH due AS (
            SELECT t.id FROM tenants t LEFT JOIN repair_progress m ON m.tenant_id = t.id
            WHERE t.connected_at < now() - make_interval(secs => %(every)s) AND t.parked_cause IS NULL
              AND t.company_id IS NOT NULL AND coalesce(m.next_at, '-infinity') <= now()
              AND NOT EXISTS (SELECT FROM repairs r WHERE r.tenant_id = t.id AND r.requested_by IS NULL
                              AND r.state IN ('waiting', 'running'))
            ORDER BY m.next_at NULLS FIRST LIMIT %(limit)s
        ), postponed AS (
            INSERT INTO repair_progress (tenant_id, next_at)
            SELECT id, now() + make_interval(secs => %(every)s) FROM due
            ON CONFLICT (tenant_id) DO UPDATE SET next_at = excluded.next_at
        )
        INSERT INTO repairs (tenant_id) SELECT id FROM due
        """,
        {"every": every_seconds, "limit": ROUND},
    ).rowcount


def reclaim_repairs(conn: Connection) -> list[int]:
    """Make repairs due again whose worker is lost or let the claim expire; return their ids.

    A repair whose message a lost worker may have taken may be sent again at once.
    """
    rows = conn.execute(
        SQL("""
        WITH lost AS MATERIALIZED (SELECT name, seen_at FROM processes WHERE {lost} FOR UPDATE), resent AS (
            UPDATE repairs SET claimed_until = NULL
            WHERE state = 'waiting' AND claimed_until > now()
              AND claimed_until <= (SELECT max(seen_at) FROM lost) + make_interval(secs => {took} + {resend})
        )
        UPDATE repairs SET state = 'waiting', due_at = now(), claimed_until = NULL
        WHERE state = 'running' AND (claimed_until < now() OR worker IN (SELECT name FROM lost)) RETURNING id
        """).format(lost=LOST, took=Literal(TOOK_MESSAGES_SECONDS), resend=Literal(RESEND_SECONDS))
    )
    return [repair_id for (repair_id,) in rows]


def pick_repairs(conn: Connection) -> list[int]:
    """Pick the repairs to send now, and return their ids: one for each tenant, those that a person asked for first.

    A repair that no worker claims is picked again after RESEND_SECONDS.
    """
    rows = conn.execute(
        SQL("""
        WITH heads AS (
            SELECT DISTINCT ON (tenant_id) tenant_id, id, state, due_at, claimed_until FROM repairs
            WHERE state IN ('waiting', 'running')
            ORDER BY tenant_id, state <> 'running', requested_by IS NULL, id
        ), picked AS (
            SELECT h.id FROM heads h JOIN tenants t ON t.id = h.tenant_id
            WHERE h.state = 'waiting' AND h.due_at <= now() AND coalesce(h.claimed_until, '-infinity') < now()
              AND t.parked_cause IS NULL AND t.not_before <= now()
              AND NOT EXISTS (SELECT FROM outages WHERE what = 'front')
            ORDER BY h.due_at, h.id
            LIMIT greatest(0, (SELECT greatest(1, coalesce(nullif(sum(slots), 0), %(assumed)s) / %(share)s)
                               FROM processes WHERE kind = 'worker' AND {alive})
                              - (SELECT count(*) FROM heads WHERE claimed_until > now()))
        )
        UPDATE repairs r SET claimed_until = now() + make_interval(secs => %(resend)s)
        FROM picked WHERE r.id = picked.id AND r.state = 'waiting' RETURNING r.id
        """).format(alive=ALIVE),
        {"assumed": ASSUMED_SLOTS, "share": SHARE, "resend": RESEND_SECONDS},
    )
    return [repair_id for (repair_id,) in rows]


def claim(conn: Connection, repair_id: int, worker: str, *, seconds: float) -> Repair | None:
    """Claim the repair; None when it is not due, is claimed already, or the tenant has another one running."""
    try:
        with conn.transaction():
            claimed = conn.execute(_CLAIM, {"id": repair_id, "worker": worker, "seconds": seconds})
    except UniqueViolation:
        return None
    if not claimed.rowcount:
        return None
    with conn.cursor(row_factory=class_row(Repair)) as cur:
        return cur.execute(_READ, (repair_id,)).fetchone()


def set_span(conn: Connection, repair: Repair, since: datetime, until: datetime) -> None:
    """Set the span of time that all slices of the repair compare. Raises Fenced."""
    _update(conn, repair, SQL("since = %(since)s, until = %(until)s, position = %(since)s"), since=since, until=until)


def count_page(conn: Connection, repair: Repair, progress: Progress, *, seconds: float) -> bool:
    """Count a page and renew the claim; False when this page was counted already. Raises Fenced.

    A commit may be repeated because its answer was lost; then the page must not count twice.
    """
    row = conn.execute(
        SQL("SELECT pages, hours FROM repairs WHERE {} FOR UPDATE").format(_OURS),
        {"id": repair.id, "claims": repair.claims},
    ).fetchone()
    if row is None:
        raise _fenced(repair)
    pages, hours = row
    if pages != progress.pages:
        return False
    _update(
        conn,
        repair,
        SQL("""
        pages = pages + 1, seen = seen + %(seen)s, known = known + %(seen)s - %(missing)s,
        missing = missing + %(missing)s, fed = fed + CASE WHEN dry_run THEN 0 ELSE %(missing)s END,
        hours = %(hours)s, position = greatest(position, %(position)s), next_page = %(next_page)s,
        failures = 0, claimed_until = now() + make_interval(secs => %(seconds)s)
        """),
        seen=progress.seen,
        missing=progress.missing,
        hours=Jsonb(_add_hours(hours, progress.hours)),
        position=progress.position,
        next_page=progress.next_page,
        seconds=seconds,
    )
    return True


def put_back(conn: Connection, repair: Repair, *, seconds: float, code: str | None, detail: str | None) -> None:
    """Make the repair due again after so long. Raises Fenced."""
    _update(conn, repair, _SET_WAITING, seconds=seconds, code=code, detail=detail)


def retry_later(conn: Connection, repair: Repair, *, seconds: float, code: str, detail: str) -> None:
    """Make the repair due again like `put_back`, and count a failure. Raises Fenced."""
    _update(
        conn, repair, SQL("{}, failures = failures + 1").format(_SET_WAITING), seconds=seconds, code=code, detail=detail
    )


def forget_page(conn: Connection, repair: Repair) -> None:
    """Make the repair due at once, from its position: Front no longer knows the next page. Raises Fenced."""
    _update(conn, repair, SQL("{}, next_page = NULL").format(_SET_WAITING), seconds=0.0, code=None, detail=None)


def fail(conn: Connection, repair: Repair, *, code: str, detail: str) -> None:
    """End the repair as failed. Raises Fenced."""
    _update(conn, repair, SQL("state = 'failed', {}").format(_SET_SETTLED), code=code, detail=detail)


def finish(conn: Connection, repair: Repair, *, detail: str | None) -> None:
    """End the repair as done, and note how far the tenant is repaired. Raises Fenced.

    `repaired_until` moves only if no gap is left before the repair's start. Earlier periodic repairs of the tenant
    that found nothing are deleted.
    """
    _update(conn, repair, SQL("state = 'done', position = until, {}").format(_SET_SETTLED), code=None, detail=detail)
    conn.execute("INSERT INTO repair_progress (tenant_id) VALUES (%s) ON CONFLICT DO NOTHING", (repair.tenant_id,))
    conn.execute(
        """
        UPDATE repair_progress m SET repaired_until = greatest(m.repaired_until, r.until)
        FROM repairs r JOIN tenants t ON t.id = r.tenant_id
        WHERE r.id = %s AND m.tenant_id = r.tenant_id AND NOT r.dry_run AND r.pages > 0
          AND (r.asked_since IS NULL OR r.since <= coalesce(m.repaired_until, t.connected_at))
        """,
        (repair.id,),
    )
    conn.execute(
        """
        DELETE FROM repairs WHERE tenant_id = %s AND id < %s AND requested_by IS NULL AND missing = 0
          AND state IN ('done', 'failed')
        """,
        (repair.tenant_id, repair.id),
    )


def postpone_periodic(conn: Connection, tenant_id: int, *, seconds: float) -> None:
    """Begin no periodic repair of the tenant for so long."""
    conn.execute(
        """
        INSERT INTO repair_progress (tenant_id, next_at) VALUES (%s, now() + make_interval(secs => %s))
        ON CONFLICT (tenant_id) DO UPDATE SET next_at = excluded.next_at
        """,
        (tenant_id, seconds),
    )


def has_work_due(conn: Connection, tenant_id: int) -> bool:
    """Whether the tenant has live work that waits for Front. Each part of the query has its index."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM tasks WHERE tenant_id = %(tenant)s AND state = 'ready'
                       AND kind NOT IN ('store_attachment', 'notify') AND due_at <= now())
            OR EXISTS (SELECT FROM tasks WHERE tenant_id = %(tenant)s AND state = 'ready'
                       AND kind = 'store_attachment' AND due_at <= now())
            OR EXISTS (SELECT FROM tasks WHERE tenant_id = %(tenant)s AND state = 'queued')
        """,
        {"tenant": tenant_id},
    ).fetchone()
    return bool(row and row[0])


def _update(conn: Connection, repair: Repair, assignments: SQL | Composed, **values: object) -> None:
    query = SQL("UPDATE repairs SET {} WHERE {}").format(assignments, _OURS)
    if not conn.execute(query, {**values, "id": repair.id, "claims": repair.claims}).rowcount:
        raise _fenced(repair)


def _fenced(repair: Repair) -> Fenced:
    return Fenced(f"repair {repair.id} was stopped, or belongs to another worker")


def _add_hours(hours: Hours, more: Mapping[str, tuple[int, int]]) -> Hours:
    total = dict(hours)
    for hour, (seen, missing) in more.items():
        before = total.get(hour, [0, 0])
        total[hour] = [before[0] + seen, before[1] + missing]
    return total
