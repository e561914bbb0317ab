"""Conversations that Front merged: from then on they are one, under the surviving id."""

from __future__ import annotations

from shared.db.locks import lock_conversations
from shared.db.pool import Connection


def note(conn: Connection, tenant_id: int, old_id: str, new_id: str) -> None:
    """Remember that a conversation lives on as another. A transaction of its own: it locks both, in everybody's order.

    Front's latest word counts: what it leads to now is merged into nothing, so no chain ever ends where it began.
    """
    lock_conversations(conn, [(tenant_id, old_id), (tenant_id, new_id)])
    conn.execute("DELETE FROM merged_conversations WHERE tenant_id = %s AND conversation_id = %s", (tenant_id, new_id))
    conn.execute(
        """
        INSERT INTO merged_conversations (tenant_id, conversation_id, merged_into) VALUES (%s, %s, %s)
        ON CONFLICT (tenant_id, conversation_id) DO UPDATE SET merged_into = excluded.merged_into, noticed_at = now()
        """,
        (tenant_id, old_id, new_id),
    )
