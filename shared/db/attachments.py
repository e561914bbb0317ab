"""The files of messages, from announced to stored."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from shared.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class AnnouncedFile:
    """A file as it was announced, and whether it is stored."""

    id: int
    front_id: str
    declared_size: int | None
    state: str


def get(conn: Connection, attachment_id: int) -> AnnouncedFile:
    """The attachment. Raises LookupError when it is gone."""
    with conn.cursor(row_factory=class_row(AnnouncedFile)) as cur:
        found = cur.execute(
            "SELECT id, front_id, declared_size, state FROM attachments WHERE id = %s", (attachment_id,)
        ).fetchone()
    if found is None:
        raise LookupError(f"attachment {attachment_id} is gone")
    return found


def mark_stored(conn: Connection, attachment_id: int, *, size: int, sha256: str, path: str) -> None:
    """The bytes are durable."""
    conn.execute(
        "UPDATE attachments SET state = 'stored', size = %s, sha256 = %s, path = %s, stored_at = now() WHERE id = %s",
        (size, sha256, path, attachment_id),
    )


def mark(conn: Connection, attachment_id: int, state: str) -> None:
    """The file is waiting, failed or discarded."""
    conn.execute("UPDATE attachments SET state = %s WHERE id = %s AND state <> 'stored'", (state, attachment_id))
