"""Reads the feed: which notifications come after a place in it, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import class_row

from shared.db.core.pool import Connection
from shared.host.notification import MESSAGE_TYPES, Cursor, FeedState
from shared.models import MOST_COUNTED

#: A page of a filtered feed looks at this many notifications at most, however few of them match.
MOST_EXAMINED = 2_000

_PAGE = """
WITH examined AS (
    SELECT n.position, n.type, n.event_id FROM notifications n
    WHERE n.position > %(after)s AND n.position <= %(last)s
      AND (%(tenant_id)s::bigint IS NULL OR n.tenant_id = %(tenant_id)s)
    ORDER BY n.position LIMIT %(examined)s
)
SELECT position, (%(types)s::text[] IS NULL OR type = ANY(%(types)s))
    AND (%(user)s::text IS NULL OR EXISTS (
        SELECT FROM recipients r JOIN users u ON u.tenant_id = r.tenant_id AND u.id = r.user_id
        WHERE r.event_id = examined.event_id AND u.external_id = %(user)s)) AS is_wanted
FROM examined ORDER BY position
"""
# Two queries, because one plan for both would read the whole feed for the quiet tenant.
_PAGE_OF_TENANT = _PAGE.replace(
    "(%(tenant_id)s::bigint IS NULL OR n.tenant_id = %(tenant_id)s)", "n.tenant_id = %(tenant_id)s"
)


@dataclass(frozen=True, kw_only=True)
class FeedFilter:
    """The notifications that a reader wants. `user`: external id of a user whom the message was matched with."""

    tenant_id: int | None = None
    user: str | None = None
    types: Sequence[str] | None = None


class NotificationRange(NamedTuple):
    """The positions of the next notifications, and the position after which the next page begins."""

    positions: list[int]
    until: int
    has_more: bool


@dataclass(frozen=True, kw_only=True)
class Lag:
    """The number of unread notifications, at most MOST_COUNTED + 1, and the age of the oldest in seconds."""

    unread: int
    seconds: float


def state(conn: Connection) -> FeedState:
    """Return how far the feed goes now. All rows up to `last_position` are visible to later statements."""
    with conn.cursor(row_factory=class_row(FeedState)) as cur:
        found = cur.execute(
            "SELECT epoch, epoch_start, previous_epoch, first_kept, last_position FROM feed_state"
        ).fetchone()
    if found is None:
        raise LookupError("feed_state has no row; `mailroom migrate` makes it")
    return found


def last_position(conn: Connection) -> int:
    """Return the position of the latest notification, 0 when there was none yet."""
    return state(conn).last_position


def page(conn: Connection, wanted: FeedFilter, *, after: int, last: int, limit: int) -> NotificationRange:
    """Return the next notifications that match, lowest position first.

    `last` is the last position of a state that was read before. A page without notifications may have more after it:
    only so many are examined at once.
    """
    values = {**vars(wanted), "types": None if wanted.types is None else list(wanted.types)}
    query = _PAGE if wanted.tenant_id is None else _PAGE_OF_TENANT
    rows = conn.execute(query.encode(), {**values, "after": after, "last": last, "examined": MOST_EXAMINED}).fetchall()
    matching = [position for position, is_wanted in rows if is_wanted]
    if len(matching) > limit:
        return NotificationRange(matching[:limit], matching[limit - 1], has_more=True)
    if len(rows) == MOST_EXAMINED:
        return NotificationRange(matching, rows[-1][0], has_more=True)
    return NotificationRange(matching, max(after, last), has_more=False)


def page_after(
    conn: Connection, wanted: FeedFilter, cursor: Cursor | None, *, limit: int, from_latest: bool = False
) -> tuple[NotificationRange, FeedState]:
    """Return the next notifications after the cursor, and the state of the feed that they belong to.

    Without a cursor the page begins with the oldest notification that is kept, or at the end of the feed.
    Raises FeedReset and CursorTooOld.
    """
    found = state(conn)
    begin = found.latest if from_latest else found.oldest
    after = begin.position if cursor is None else found.position_after(cursor)
    return page(conn, wanted, after=after, last=found.last_position, limit=limit), found


def lag(conn: Connection, wanted: FeedFilter, *, after: int) -> Lag:
    """Return how far a reader at this position is behind, of one tenant or all; other filters do not count."""
    row = conn.execute(
        """
        SELECT count(*), coalesce(extract(epoch FROM now() - min(at)), 0)::float8 FROM (
            SELECT at FROM notifications
            WHERE position > %(after)s AND (%(tenant_id)s::bigint IS NULL OR tenant_id = %(tenant_id)s)
            ORDER BY position LIMIT %(most)s) unread
        """,
        {"after": after, "tenant_id": wanted.tenant_id, "most": MOST_COUNTED + 1},
    ).fetchone()
    unread, seconds = row or (0, 0.0)
    return Lag(unread=unread, seconds=max(0.0, seconds))


def position_of(conn: Connection, notification_id: UUID, *, tenant_id: int | None) -> int | None:
    """Return the position of a notification; None when there is none, or it is another tenant's."""
    row = conn.execute(
        "SELECT position FROM notifications WHERE id = %s AND (%s::bigint IS NULL OR tenant_id = %s)",
        (notification_id, tenant_id, tenant_id),
    ).fetchone()
    return int(row[0]) if row else None


def position_of_event(conn: Connection, event_id: int, *, tenant_id: int | None) -> int | None:
    """Return the position of the latest notification about an event's message; None as `position_of` does."""
    row = conn.execute(
        "SELECT max(position) FROM notifications"
        " WHERE event_id = %s AND type = ANY(%s) AND (%s::bigint IS NULL OR tenant_id = %s)",
        (event_id, list(MESSAGE_TYPES), tenant_id, tenant_id),
    ).fetchone()
    return row[0] if row else None
