"""The files of messages, from announced to stored."""

from __future__ import annotations

from shared.db.pool import Connection


def front_id_of(conn: Connection, attachment_id: int) -> str:
    """Front's id of the attachment. Raises LookupError when it is gone."""
    row = conn.execute("SELECT front_id FROM attachments WHERE id = %s", (attachment_id,)).fetchone()
    if row is None:
        raise LookupError(f"attachment {attachment_id} is gone")
    return str(row[0])


def mark_stored(conn: Connection, attachment_id: int, *, size: int, sha256: str, path: str) -> None:
    """The bytes are durable."""
    conn.execute(
        "UPDATE attachments SET state = 'stored', size = %s, sha256 = %s, path = %s, stored_at = now() WHERE id = %s",
        (size, sha256, path, attachment_id),
    )


def mark(conn: Connection, attachment_id: int, state: str) -> None:
    """The file is waiting, failed or discarded."""
    conn.execute("UPDATE attachments SET state = %s WHERE id = %s AND state <> 'stored'", (state, attachment_id))
