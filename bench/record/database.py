"""The database that is recorded into: tenants, users and stored events."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from bench.harness.webhooks import TENANTS
from workers.recording.prefetch import CHUNK

PEOPLE = (
    """
    INSERT INTO tenants (name, company_id, connected_at, action)
    SELECT 'tenant ' || n, 'cmp_' || n, now() - interval '1 hour', 'archive'
    FROM generate_series(1, %(tenants)s::int) n ORDER BY n
    """,
    """
    INSERT INTO users (tenant_id, external_id, name)
    SELECT (n - 1) %% %(tenants)s::int + 1, 'u' || n, 'User ' || n FROM generate_series(1, %(addresses)s::int) n
    """,
    """
    INSERT INTO user_addresses (tenant_id, address, user_id, position, as_given)
    SELECT tenant_id, external_id || '@acme.example', id, 1, external_id || '@acme.example' FROM users
    """,
)
#: The rows that the recorder and finished work leave, in the order of their ids, which grow as Front's do. Bodies have
#: the usual length.
STORED = (
    """
    INSERT INTO events (company_id, front_id, tenant_id, type, conversation_id, message_id, source, emitted_at,
                        received_at, state, recipients)
    SELECT 'cmp_' || t, 'evt_' || lpad(to_hex(n), 12, '0'), t, 'inbound_received', 'cnv_' || lpad(to_hex(n), 12, '0'),
           'msg_' || n, 'inboxes',
           at, at, 'done', u.recipients
    FROM generate_series(1, %(stored)s::int) n
    CROSS JOIN LATERAL (SELECT n %% %(tenants)s::int + 1 AS t, now() - n * interval '1 s' AS at) x
    JOIN (
        SELECT tenant_id, json_agg(json_build_array('p' || p || '@elsewhere.example', 'to',
            CASE WHEN p < 2 THEN id END, 'no user with p' || p || '@elsewhere.example')) AS recipients
        FROM (SELECT tenant_id, min(id) AS id FROM users GROUP BY tenant_id) first CROSS JOIN generate_series(0, 4) p
        GROUP BY tenant_id
    ) u ON u.tenant_id = t
    """,
    """
    INSERT INTO deliveries (id, event_id, received_at, origin, body)
    SELECT gen_random_uuid(), id, received_at, 'webhook', decode(repeat(md5(id::text), 32), 'hex') FROM events
    """,
    """
    INSERT INTO attachments (tenant_id, event_id, conversation_id, front_id, filename, content_type, state)
    SELECT tenant_id, id, conversation_id, 'fil_' || lpad(to_hex(id), 12, '0'), 'drawing.pdf',
           'application/pdf', 'stored'
    FROM events
    """,
    """
    INSERT INTO actions (event_id, tenant_id, conversation_id, kind, wait_for, state, reason, emitted_at)
    SELECT id, tenant_id, conversation_id, 'archive', 'stored', 'confirmed', 'the tenant''s policy', emitted_at
    FROM events
    """,
    """
    INSERT INTO tasks (tenant_id, event_id, kind, attachment_id, state, settled_at)
    SELECT tenant_id, event_id, 'store_attachment', id, 'done', now() FROM attachments
    UNION ALL SELECT tenant_id, id, 'apply_action', NULL, 'done', now() FROM events
    """,
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A database to record into, with `stored` events and all their rows; `chunks` are the sizes to record in."""

    addresses: int
    stored: int = 0
    chunks: tuple[int, ...] = (CHUNK,)
    beside_tasks: bool = False

    @property
    def name(self) -> str:
        """The name of the case in the result."""
        return f"{self.addresses}_addresses_{self.stored}_stored"


def fill(database_url: str, case: Case) -> None:
    """Insert tenants, users and stored events, without checks of foreign keys: these rows are correct as made."""
    values = {"tenants": TENANTS, "addresses": case.addresses, "stored": case.stored}
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        for statement in PEOPLE + (STORED if case.stored else ()):
            conn.execute(statement, values)
        conn.execute("VACUUM ANALYZE")  # else autovacuum does it, and its CPU counts for recording
        conn.execute("CHECKPOINT")
