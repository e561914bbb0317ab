"""A database as large as the pages are promised for: events, failed tasks, and what else a page counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from bench.harness.webhooks import TENANTS
from bench.record.database import PEOPLE, STORED

if TYPE_CHECKING:
    from typing import LiteralString

#: Of those with stored events, so many tenants wait for a new token.
PARKED_TENANTS = 20
ADDRESSES = 10_000
#: The last event is the newest one.
IN_ORDER: tuple[LiteralString, ...] = (
    """
    UPDATE events SET received_at = at, recorded_at = at, emitted_at = at
    FROM (SELECT id AS number, now() - (%(stored)s - id) * interval '1 s' AS at FROM events) times WHERE id = number
    """,
    "UPDATE tasks SET created_at = now() - (%(stored)s - event_id) * interval '1 s'",
)
#: What failed, spread over all tenants; of the rest a twentieth waits, and a fiftieth of all has no tenant.
TROUBLE: tuple[LiteralString, ...] = (
    "CREATE TEMPORARY TABLE codes (place int, code text, detail text)",
    """
    INSERT INTO codes VALUES (0, 'front_unavailable', 'Front answered 503'), (1, 'file_gone', 'the file is gone'),
        (2, 'too_large', 'it has more bytes than MAX_ATTACHMENT_BYTES allows'), (3, 'bug', 'KeyError')
    """,
    """
    INSERT INTO failure_groups (tenant_id, kind, code, signature, first_seen, last_seen)
    SELECT t.id, 'apply_action', c.code, failure_signature(c.detail), now() - interval '3 days',
        now() - t.id * interval '1 minute'
    FROM tenants t CROSS JOIN codes c
    """,
    """
    CREATE TEMPORARY TABLE failing AS
    SELECT e.id, e.tenant_id, c.code, c.detail, g.id AS failure_group_id
    FROM (SELECT id, tenant_id FROM events WHERE id / 1000 %% 10 < %(failed)s * 10 / %(stored)s) e
    JOIN codes c ON c.place = e.id / 10000 %% 4
    JOIN failure_groups g ON g.tenant_id = e.tenant_id AND g.code = c.code
    """,
    "UPDATE events e SET state = 'failed', cause = f.code FROM failing f WHERE f.id = e.id",
    """
    UPDATE tasks k SET state = 'failed', code = f.code, detail = f.detail, failure_group_id = f.failure_group_id,
        attempts = 8, lease_epoch = 8
    FROM failing f WHERE f.id = k.event_id AND k.kind = 'apply_action'
    """,
    """
    INSERT INTO attempts (task_id, epoch, worker, ended_at, outcome, code, detail)
    SELECT k.id, 8, 'worker@host:1', now(), 'failed', k.code, k.detail FROM tasks k WHERE k.state = 'failed'
    """,
    """
    UPDATE tenants SET parked_cause = 'needs_reconnect', parked_at = now() - interval '1 hour' WHERE id <= %(parked)s
    """,
    "CREATE TEMPORARY TABLE open AS SELECT id FROM events WHERE state = 'done' ORDER BY id LIMIT %(stored)s / 20",
    "UPDATE events e SET state = 'processing' FROM open o WHERE o.id = e.id",
    """
    UPDATE tasks k SET state = 'ready', settled_at = NULL, due_at = now() - k.id %% 100 * interval '1 s'
    FROM open o WHERE o.id = k.event_id AND k.kind = 'apply_action'
    """,
    """
    INSERT INTO events (company_id, front_id, type, emitted_at, received_at, state, cause)
    SELECT 'cmp_new' || n %% 10, 'evt_new' || n, 'inbound_received', now(), now() - n * interval '1 s', 'parked',
        'unknown_company'
    FROM generate_series(1, %(stored)s / 50) n
    """,
    """
    INSERT INTO minute_figures (minute, received, recorded, done, failed, calls)
    SELECT date_trunc('minute', now(), 'UTC') - n * interval '1 minute', 300 + n %% 70, 290 + n %% 70, 500, n %% 7, 900
    FROM generate_series(0, 30 * 24 * 60) n
    """,
    """
    INSERT INTO minute_figures (minute, tenant_id, received, recorded, done, calls)
    SELECT date_trunc('minute', now(), 'UTC') - n * interval '1 minute', t.id, 3, 3, 5, 9
    FROM tenants t CROSS JOIN generate_series(0, 180) n
    """,
    """
    INSERT INTO audit (at, who, via, verb, tenant_id, target, allowed)
    SELECT now() - n * interval '1 minute', 'somebody@example.com', 'page', 'retry', n %% 100 + 1, 'task ' || n, true
    FROM generate_series(1, 10000) n
    """,
)


def fill(database_url: str, *, stored: int, failed: int) -> None:
    """Insert so many events, of which `failed` failed, with tenants, tasks and figures; no foreign key is checked."""
    values = {
        "tenants": TENANTS, "addresses": ADDRESSES, "stored": stored, "failed": failed, "parked": PARKED_TENANTS,
    }  # fmt: skip
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        for statement in (*PEOPLE, *STORED, *IN_ORDER, *TROUBLE):
            conn.execute(statement, values)
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")
