"""Rows of very many events, as if they had been recorded; made by PostgreSQL itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg


def seed(conn: psycopg.Connection, *, tenants: int, tasks: int, waiting: bool = False) -> None:
    """So many actions over so many tenants, due now; or `waiting` for a file of their own."""
    conn.execute(
        "INSERT INTO tenants (name, company_id, connected_at)"
        " SELECT 'tenant ' || n, 'cmp_scale' || n, now() FROM generate_series(1, %s) n",
        (tenants,),
    )
    conn.execute(
        """
        INSERT INTO events (company_id, front_id, tenant_id, type, conversation_id, emitted_at, received_at, state)
        SELECT company_id, 'evt_' || t.id || 'x' || n, t.id, 'inbound_received', 'cnv_' || t.id || 'x' || n,
               now(), now(), 'processing'
        FROM tenants t, generate_series(1, %s) n
        """,
        (tasks // tenants,),
    )
    conn.execute(
        """
        INSERT INTO actions (event_id, tenant_id, conversation_id, kind, wait_for, state, reason, emitted_at)
        SELECT id, tenant_id, conversation_id, 'archive', 'stored', 'planned', 'scale', emitted_at FROM events
        """
    )
    conn.execute(
        "INSERT INTO tasks (tenant_id, event_id, kind, state, due_at)"
        " SELECT tenant_id, id, 'apply_action', 'ready', CASE WHEN %s THEN 'infinity' ELSE now() END FROM events",
        (waiting,),
    )
    if waiting:
        conn.execute(
            "INSERT INTO attachments (tenant_id, event_id, conversation_id, front_id, filename, content_type)"
            " SELECT tenant_id, id, conversation_id, 'fil_' || id, 'page.pdf', 'application/pdf' FROM events"
        )
    conn.commit()
    conn.autocommit = True
    conn.execute("VACUUM ANALYZE")  # what autovacuum would have done while so many came
    conn.autocommit = False
