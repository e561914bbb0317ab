"""Adds rows with the fewest columns that the schema asks for."""

from __future__ import annotations

from typing import Any

import psycopg

CONVERSATION = "cnv_1"
COMPANY = "cmp_acme"


def insert(conn: psycopg.Connection[Any], table: str, **columns: Any) -> None:
    """Add one row."""
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    conn.execute(f"INSERT INTO {table} ({names}) VALUES ({places})".encode(), list(columns.values()))


def insert_id(conn: psycopg.Connection[Any], table: str, **columns: Any) -> int:
    """Add one row; its id."""
    insert(conn, table, **columns)
    row = conn.execute("SELECT lastval()").fetchone()
    assert row
    return int(row[0])


class Builder:
    """Adds rows of one tenant; what is not named gets a usual value."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        self._events = 0
        self.tenant = insert_id(conn, "tenants", name="Acme", company_id=COMPANY)

    def event(self, conversation: str = CONVERSATION, **columns: Any) -> int:
        """An event; its id."""
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
        """A task of the event, under lease epoch 1; its id."""
        usual = {"tenant_id": self.tenant, "event_id": event, "kind": kind, "state": state, "lease_epoch": 1}
        return insert_id(self._conn, "tasks", **usual | columns)

    def action(self, event: int, conversation: str = CONVERSATION, **columns: Any) -> None:
        """The action of the event: archive."""
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
        """A file of the event."""
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
        """Note that Front merged one conversation into another."""
        insert(self._conn, "merged_conversations", tenant_id=self.tenant, conversation_id=gone, merged_into=into)
