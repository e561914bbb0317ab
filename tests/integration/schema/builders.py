"""Insert rows with only the columns that the schema requires."""

from __future__ import annotations

from typing import Any

import psycopg

CONVERSATION = "cnv_1"
COMPANY = "cmp_acme"


def insert(conn: psycopg.Connection[Any], table: str, **columns: Any) -> None:
    """Insert one row."""
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    conn.execute(f"INSERT INTO {table} ({names}) VALUES ({places})".encode(), list(columns.values()))


def insert_id(conn: psycopg.Connection[Any], table: str, **columns: Any) -> int:
    """Insert one row and return its id."""
    insert(conn, table, **columns)
    row = conn.execute("SELECT lastval()").fetchone()
    assert row
    return int(row[0])


class Builder:
    """Insert rows of one tenant; columns without a value get a usual one."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        self._events = 0
        self.tenant = insert_id(conn, "tenants", name="Acme", company_id=COMPANY)

    def event(self, conversation: str = CONVERSATION, **columns: Any) -> int:
        """Insert an event and return its id."""
        self._events += 1
        usual = {
            "tenant_id": self.tenant,
            "company_id": COMPANY,
            "front_id": f"evt_{self._events}",
            "type": "inbound_received",
            "conversation_id": conversation,
            "received_at": "now",
            "state": "processing",
        }
        return insert_id(self._conn, "events", **usual | columns)

    def task(self, event: int, state: str = "running", kind: str = "apply_action", **columns: Any) -> int:
        """Insert a task of the event, under lease epoch 1, and return its id."""
        usual = {"tenant_id": self.tenant, "event_id": event, "kind": kind, "state": state, "lease_epoch": 1}
        return insert_id(self._conn, "tasks", **usual | columns)

    def action(self, event: int, conversation: str = CONVERSATION, **columns: Any) -> None:
        """Insert the action of the event: archive."""
        usual = {
            "event_id": event,
            "tenant_id": self.tenant,
            "conversation_id": conversation,
            "kind": "archive",
            "wait_for": "stored",
            "state": "planned",
            "reason": "matched",
            "emitted_at": "now",
        }
        insert(self._conn, "actions", **usual | columns)

    def attachment(self, event: int, state: str, conversation: str = CONVERSATION) -> None:
        """Insert a file of the event."""
        insert(
            self._conn,
            "attachments",
            tenant_id=self.tenant,
            event_id=event,
            conversation_id=conversation,
            front_id=f"fil_{state}_{conversation}",
            filename="a.pdf",
            content_type="application/pdf",
            state=state,
        )

    def merge(self, gone: str, into: str) -> None:
        """Insert the merge of one conversation into another."""
        insert(self._conn, "merged_conversations", tenant_id=self.tenant, conversation_id=gone, merged_into=into)
