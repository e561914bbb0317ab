"""Which repairs are begun and sent to a worker, and which of a dead one are taken back: the sweeper's part."""

from __future__ import annotations

from shared.db.dispatching import RESEND_SECONDS
from shared.db.pool import Connection
from shared.db.room import ASSUMED_SLOTS

#: Of the workers' slots one in so many may repair: the rest is for live work.
SHARE = 4
ROUND = 50


def begin_periodic(conn: Connection, *, every_seconds: float) -> int:
    """Ask for a repair of the tenants whose last one is long ago; how many."""
    return conn.execute(
        """
        WITH due AS (
            SELECT t.id FROM tenants t LEFT JOIN repair_progress m ON m.tenant_id = t.id
            WHERE t.connected_at < now() - make_interval(secs => %(every)s) AND t.parked_cause IS NULL
              AND t.company_id IS NOT NULL AND coalesce(m.next_at, '-infinity') <= now()
              AND NOT EXISTS (SELECT FROM repairs r WHERE r.tenant_id = t.id AND r.requested_by IS NULL
                              AND r.state IN ('waiting', 'running'))
            ORDER BY m.next_at NULLS FIRST LIMIT %(limit)s
        ), marked AS (
            INSERT INTO repair_progress (tenant_id, next_at)
            SELECT id, now() + make_interval(secs => %(every)s) FROM due
            ON CONFLICT (tenant_id) DO UPDATE SET next_at = excluded.next_at
        )
        INSERT INTO repairs (tenant_id) SELECT id FROM due
        """,
        {"every": every_seconds, "limit": ROUND},
    ).rowcount


def take_back(conn: Connection) -> list[int]:
    """Let repairs go on whose worker said nothing for too long; their ids."""
    rows = conn.execute(
        """
        UPDATE repairs SET state = 'waiting', due_at = now(), claimed_until = NULL
        WHERE state = 'running' AND claimed_until < now() RETURNING id
        """
    )
    return [repair_id for (repair_id,) in rows]


def pick(conn: Connection) -> list[int]:
    """The repairs to send now: one of a tenant, what a person asked for first. Each is picked again if nobody comes."""
    rows = conn.execute(
        """
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
                               FROM processes WHERE kind = 'worker' AND seen_at > now() - interval '15 seconds')
                              - (SELECT count(*) FROM heads WHERE claimed_until > now()))
        )
        UPDATE repairs r SET claimed_until = now() + make_interval(secs => %(resend)s)
        FROM picked WHERE r.id = picked.id AND r.state = 'waiting' RETURNING r.id
        """,
        {"assumed": ASSUMED_SLOTS, "share": SHARE, "resend": RESEND_SECONDS},
    )
    return [repair_id for (repair_id,) in rows]
