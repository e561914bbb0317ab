"""Numbers notifications for the host application, so that a reader who goes by position never misses one.

The transaction that settles a message adds a row to `outbox`. Such transactions commit in any order, so a row's own id
is no place in a feed: a lower id may show up after a higher one was read. Positions are given later, by one transaction
at a time. A row is numbered only after it was committed, and all rows of one numbering appear before the next begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from shared.db.core.locks import HAS_NUMBERING, ask_for_numbering, try_lock_numbering
from shared.db.core.pool import Connection
from shared.db.host.notifying import FAN_OUT
from shared.db.recording.rows import columns
from shared.host.notification import FILE_TYPES

#: The most rows of one numbering. Its transaction stays short, also after a long pause.
AT_ONCE = 1_000

# A row whose event or tenant was deleted since leaves without a position. The lock is asked for by a statement of its
# own: it was free only after the rows of the numbering before it had become visible.
_NUMBER = f"""
WITH taken AS (
    DELETE FROM outbox WHERE {HAS_NUMBERING} AND id = ANY(ARRAY(SELECT id FROM outbox ORDER BY id LIMIT %(limit)s))
    RETURNING *
), kept AS (
    SELECT *, row_number() OVER (ORDER BY id) AS place FROM taken
    WHERE CASE WHEN event_id IS NOT NULL
               THEN EXISTS (SELECT FROM events e WHERE e.id = taken.event_id AND e.tenant_id = taken.tenant_id OFFSET 0)
               ELSE tenant_id IS NULL OR EXISTS (SELECT FROM tenants t WHERE t.id = taken.tenant_id OFFSET 0) END
), numbered AS (
    INSERT INTO notifications (position, tenant_id, conversation_id, type, event_id, attachment_id, facts, at)
    SELECT last_position + place, tenant_id, conversation_id, type, event_id, attachment_id, facts, at
    FROM kept CROSS JOIN feed_state
    RETURNING *, (facts->>'endpoint_id')::bigint AS about
), {FAN_OUT}, counted AS (
    SELECT (SELECT count(*) FROM taken) AS taken, (SELECT count(*) FROM kept) AS kept
), moved AS (
    UPDATE feed_state SET last_position = last_position + counted.kept FROM counted WHERE counted.kept > 0
)
SELECT counted.taken, EXISTS (SELECT FROM feed_state) FROM counted
""".encode()  # noqa: S608 -- text of ours


class OutboxRow(NamedTuple):
    """A notification about an event's message."""

    tenant_id: int
    conversation_id: str
    type: str
    event_id: int


def add_messages(conn: Connection, rows: Sequence[OutboxRow]) -> None:
    """Add the notifications about these messages, in this order, in the transaction that makes them ready."""
    if rows:
        conn.execute(
            """
            INSERT INTO outbox (tenant_id, conversation_id, type, event_id)
            SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[])
            """,
            columns(rows, OutboxRow),
        )


def add(conn: Connection, notification_type: str, *, tenant_id: int | None, facts: Mapping[str, Any]) -> None:
    """Add a notification that is about no event; `facts` is the `data` of its body besides the tenant."""
    conn.execute(
        "INSERT INTO outbox (tenant_id, type, facts) VALUES (%s, %s, %s)", (tenant_id, notification_type, Jsonb(facts))
    )


def number(conn: Connection, limit: int = AT_ONCE) -> int:
    """Give the oldest committed rows of the outbox their positions; return how many rows were taken out of it.

    Each endpoint that wants one of them gets a task that sends it.
    Returns 0 while another transaction numbers. Fewer than `limit`: nothing was left. Commit soon after: other readers
    wait for these positions.
    """
    return start_numbering(conn, limit)()


def start_numbering(conn: Connection, limit: int = AT_ONCE) -> Callable[[], int]:
    """Begin `number`, and return the function that gives its result. In a pipeline only that function waits."""
    ask_for_numbering(conn)
    cursor = conn.execute(_NUMBER, {"limit": limit, "file_types": list(FILE_TYPES)})

    def count() -> int:
        taken, has_state = cursor.fetchone() or (0, False)
        if not has_state:
            raise LookupError("feed_state has no row; `mailroom migrate` makes it")
        return int(taken)

    return count


def has_rows(conn: Connection) -> bool:
    """Whether any notification waits for its position."""
    row = conn.execute("SELECT EXISTS (SELECT FROM outbox)").fetchone()
    return bool(row and row[0])


def delete_older(conn: Connection, *, days: int, limit: int) -> int:
    """Delete up to `limit` notifications at the end of the feed that are more than `days` old; return their number.

    One that an endpoint is still to get stays, and all after it. Cursors before the first that is kept are refused.
    Numbering and this do not run at the same time.
    """
    if not try_lock_numbering(conn):
        return 0
    deleted = conn.execute(
        """
        WITH oldest AS (
            SELECT position, bool_or(at >= now() - make_interval(days => %(days)s) OR EXISTS (
                SELECT FROM tasks t WHERE t.position = first.position
                AND t.state IN ('ready', 'queued', 'running', 'failed'))) OVER (ORDER BY position) AS is_kept
            FROM (SELECT position, at FROM notifications ORDER BY position LIMIT %(limit)s) first
        ), deleted AS (
            DELETE FROM notifications WHERE position IN (SELECT position FROM oldest WHERE NOT is_kept)
            RETURNING position
        )
        UPDATE feed_state SET first_kept = greatest(first_kept, (SELECT max(position) + 1 FROM deleted))
        FROM (SELECT count(*) AS number FROM deleted) counted RETURNING counted.number
        """,
        {"days": days, "limit": limit},
    ).fetchone()
    return int(deleted[0]) if deleted else 0


def renew_epoch(conn: Connection) -> str:
    """Begin another epoch of the feed and return its word; a restored database needs it.

    A restore takes positions back that were read before, and gives them to other notifications. Cursors of the epoch
    before are refused from now on, and told where to start.
    """
    row = conn.execute(
        "UPDATE feed_state SET previous_epoch = epoch, epoch = new_feed_epoch(), epoch_start = last_position"
        " RETURNING epoch"
    ).fetchone()
    if row is None:
        raise LookupError("feed_state has no row; `mailroom migrate` makes it")
    return str(row[0])
