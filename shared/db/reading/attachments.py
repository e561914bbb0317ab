"""Find one attachment by our number, for those who download it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


@dataclass(frozen=True, kw_only=True)
class AttachmentFile:
    """An attachment and where its bytes are; `size`, `sha256` and `path` are None unless its state is `stored`.

    `filename` and `content_type` are the sender's words.
    """

    number: int
    tenant_id: int
    event: int
    filename: str
    content_type: str
    state: str
    size: int | None
    sha256: str | None
    path: str | None


def find(conn: Connection, number: int) -> AttachmentFile | None:
    """Return the attachment with this number of ours, or None."""
    with conn.cursor(row_factory=class_row(AttachmentFile)) as cursor:
        return cursor.execute(
            "SELECT id AS number, tenant_id, event_id AS event, filename, content_type, state, size, sha256, path"
            " FROM attachments WHERE id = %s",
            (number,),
        ).fetchone()


def was_deleted(conn: Connection, number: int) -> bool:
    """Whether an attachment once had this number and has been deleted with its event. Call it if `find` finds none."""
    row = conn.execute("SELECT last_value, is_called FROM attachments_id_seq").fetchone()
    return row is not None and bool(row[1]) and 0 < number <= row[0]
