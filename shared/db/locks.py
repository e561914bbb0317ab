"""Who may do what at a time: advisory locks, gone with the session or transaction that held them."""

from __future__ import annotations

from shared.db.pool import Connection

_ROLES = 0x6D720001
RECORDER, SWEEPER = 1, 2
_FILES = 3


def lock_conversation(conn: Connection, tenant_id: int, conversation_id: str) -> None:
    """Hold the conversation until the transaction ends: whatever settles or releases work in it takes this first."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", (conversation_id, tenant_id))


def take_role(conn: Connection, role: int) -> bool:
    """Become the recorder or the sweeper for the life of this connection; False while somebody else is."""
    row = conn.execute("SELECT pg_try_advisory_lock(%s, %s)", (_ROLES, role)).fetchone()
    return bool(row and row[0])


def leave_role(conn: Connection, role: int) -> None:
    """Let the next one in."""
    conn.execute("SELECT pg_advisory_unlock(%s, %s)", (_ROLES, role))


def try_lock_files(conn: Connection) -> bool:
    """Be the one who dispatches files until the transaction ends; False while somebody else is."""
    row = conn.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", (_ROLES, _FILES)).fetchone()
    return bool(row and row[0])
