"""The notifications of endpoints as tasks: made for each endpoint, claimed, and settled together with the endpoint.

Transactions lock a conversation first, then tasks, then the endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from shared.db.core.locks import lock_conversation
from shared.db.core.pool import Connection
from shared.db.host.due_notifications import SLOW_SECONDS
from shared.db.tasks import settling
from shared.db.tasks.leases import check_owned
from shared.host.notification import FILE_TYPES, Include

#: A success is written to the endpoint's row this often, unless it changes more than the time.
_SUCCESS_EVERY = "5 seconds"
# A held endpoint is told of a test at once. Nobody else is told of it, nor is an endpoint told of itself.
_FAN_OUT = b"""
WITH numbered AS (
    SELECT n.*, (n.facts->>'endpoint_id')::bigint AS about FROM notifications n
    WHERE n.position BETWEEN %(first)s AND %(last)s
), told AS (
    INSERT INTO tasks (tenant_id, event_id, kind, state, due_at, endpoint_id, position, order_key)
    SELECT n.tenant_id, n.event_id, 'notify', 'ready', now() - interval '1 day' * (n.type = 'ping')::int, e.id,
           n.position, CASE n.type WHEN 'ping' THEN n.position
                       ELSE hashtextextended(n.conversation_id, coalesce(n.tenant_id, 0)) END
    FROM numbered n JOIN endpoints e
      ON CASE n.type
         WHEN 'ping' THEN e.id = n.about
         ELSE (e.tenant_id IS NULL OR e.tenant_id = n.tenant_id) AND e.created_at <= n.at
              AND (n.type = ANY(e.types) OR e.types IS NULL AND n.type <> ALL(%(file_types)s))
              AND NOT (n.type = 'endpoint.held' AND e.id = n.about) END
    ORDER BY n.position
    RETURNING id, endpoint_id, position
), testing AS (
    UPDATE endpoints e SET probe_task_id = told.id FROM told JOIN numbered USING (position)
    WHERE numbered.type = 'ping' AND e.id = told.endpoint_id AND e.state = 'held'
)
SELECT count(*) FROM told
"""
_GOES = """
((e.state = 'open' OR e.probe_task_id IS NOT DISTINCT FROM tasks.id)
 AND (e.tenant_id IS NULL OR e.tenant_id = tasks.tenant_id)
 AND EXISTS (SELECT FROM notifications n WHERE n.position = tasks.position
             AND n.tenant_id IS NOT DISTINCT FROM tasks.tenant_id)
 AND NOT EXISTS (SELECT FROM tenants t WHERE t.id = tasks.tenant_id AND t.parked_cause = 'erasing')
 AND NOT EXISTS (SELECT FROM tasks o WHERE o.endpoint_id = tasks.endpoint_id AND o.kind = 'notify'
                 AND o.order_key = tasks.order_key AND o.state IN ('ready', 'queued', 'running')
                 AND o.position < tasks.position))
"""
_CLAIM = f"""
WITH claimed AS (
    UPDATE tasks SET state = 'running', lease_epoch = lease_epoch + 1, attempts = attempts + 1, sends = 0,
           lease_until = now() + make_interval(secs => %(lease)s)
    FROM endpoints e
    WHERE tasks.id = %(id)s AND tasks.kind = 'notify' AND tasks.state IN ('ready', 'queued') AND tasks.due_at <= now()
      AND e.id = tasks.endpoint_id AND {_GOES}
    RETURNING tasks.id, tasks.event_id, tasks.tenant_id, tasks.position, tasks.lease_epoch, tasks.attempts,
              e.id AS endpoint_id, e.state = 'held' AS is_probe, e.url, e.include, e.secret, e.name AS endpoint,
              CASE WHEN e.previous_until > now() THEN e.previous_secret END AS previous_secret
), begun AS (
    INSERT INTO attempts (task_id, epoch, worker) SELECT id, lease_epoch, %(worker)s FROM claimed
)
SELECT claimed.*, n.conversation_id, n.type,
       coalesce((SELECT replace(d.id::text, '-', '') FROM deliveries d WHERE d.event_id = claimed.event_id
                 ORDER BY d.received_at LIMIT 1), '') AS delivery_id,
       EXISTS (SELECT FROM actions a WHERE a.event_id = claimed.event_id AND a.act_after = 'notified'
               AND a.state IN ('planned', 'intent')) AS releases
FROM claimed JOIN notifications n ON n.position = claimed.position
""".encode()  # noqa: S608 -- text of ours
_HAND_BACK = f"""
UPDATE tasks SET state = 'ready', lease_until = NULL, sends = 0 FROM endpoints e
WHERE tasks.id = %s AND tasks.kind = 'notify' AND tasks.state = 'queued' AND e.id = tasks.endpoint_id AND NOT {_GOES}
""".encode()  # noqa: S608 -- text of ours


@dataclass(frozen=True, kw_only=True)
class ClaimedNotification:
    """A notification that was just claimed for an attempt, and its endpoint. `previous_secret` signs as well.

    `is_probe`: the endpoint is held. `releases`: an action waits until its event's notifications were sent.
    """

    id: int
    event_id: int | None
    tenant_id: int | None
    position: int
    lease_epoch: int
    attempts: int
    endpoint_id: int
    endpoint: str
    is_probe: bool
    url: str
    include: Include
    secret: bytes = field(repr=False)
    previous_secret: bytes | None = field(repr=False)
    conversation_id: str
    type: str
    delivery_id: str
    releases: bool


@dataclass(frozen=True, kw_only=True)
class Failing:
    """An endpoint after another failure: how many there are in a row, and for how long, in seconds."""

    name: str
    state: str
    failures: int
    failing_seconds: float
    held_seconds: float


def fan_out(conn: Connection, first: int, last: int) -> int:
    """Make a task for each of these notifications and each endpoint that wants it; return their number.

    An endpoint gets what was noted after it was added.
    """
    row = conn.execute(_FAN_OUT, {"first": first, "last": last, "file_types": list(FILE_TYPES)}).fetchone()
    return int(row[0]) if row else 0


def claim(conn: Connection, task_id: int, worker: str, *, lease_seconds: float) -> ClaimedNotification | None:
    """Claim the notification for an attempt, if it is due and its endpoint takes any. Needs no transaction."""
    with conn.cursor(row_factory=class_row(ClaimedNotification)) as cursor:
        claimed = cursor.execute(_CLAIM, {"id": task_id, "lease": lease_seconds, "worker": worker}).fetchone()
    if claimed is None:
        conn.execute(_HAND_BACK, (task_id,))
    return claimed


def settle_sent(conn: Connection, sent: ClaimedNotification, *, call: Mapping[str, Any] | None, seconds: float) -> None:
    """End a notification that its endpoint took, and release the action that waited for it. Raises Fenced."""
    if sent.releases:
        _lock(conn, sent)
    _end(conn, sent, "done", call=call)
    conn.execute(
        f"""
        UPDATE endpoints SET last_success_at = now(), last_seconds = %(seconds)s, failures = 0, failing_since = NULL,
               last_failure = NULL, probe_task_id = NULL
        WHERE id = %(id)s AND (failures > 0 OR last_success_at IS NULL OR last_seconds IS NULL
              OR last_success_at < now() - interval '{_SUCCESS_EVERY}'
              OR (last_seconds > {SLOW_SECONDS}) <> (%(seconds)s::real > {SLOW_SECONDS}))
        """.encode(),  # noqa: S608 -- numbers of ours
        {"id": sent.endpoint_id, "seconds": seconds},
    )
    _release(conn, sent)


def settle_later(  # noqa: PLR0913 -- the columns of a task after an attempt, each named at the call
    conn: Connection,
    sent: ClaimedNotification,
    *,
    seconds: float,
    counts: bool,
    code: str,
    detail: str,
    call: Mapping[str, Any] | None,
) -> None:
    """Put a notification back, due in `seconds`. `counts`: whether this was an attempt of it. Raises Fenced."""
    updated = conn.execute(
        """
        UPDATE tasks SET state = 'ready', lease_until = NULL, code = %(code)s, detail = %(detail)s,
               attempts = attempts - CASE WHEN %(counts)s THEN 0 ELSE 1 END,
               due_at = CASE WHEN %(seconds)s::float8 = 0 THEN due_at
                             ELSE now() + make_interval(secs => %(seconds)s) END
        WHERE id = %(id)s AND lease_epoch = %(epoch)s AND state = 'running'
        """,
        {
            "id": sent.id,
            "epoch": sent.lease_epoch,
            "code": code,
            "detail": detail,
            "counts": counts,
            "seconds": seconds,
        },
    )
    check_owned(updated.rowcount == 1)
    _end_attempt(conn, sent, "ready", call=call, code=code, detail=detail)


def settle_failed(
    conn: Connection,
    sent: ClaimedNotification,
    *,
    code: str,
    detail: str,
    call: Mapping[str, Any] | None,
) -> None:
    """Let a notification fail: it waits for a person, and so does an action that waits for it. Raises Fenced.

    A test is `skipped` instead, because nobody misses it.
    """
    if sent.event_id is not None:
        _lock(conn, sent)
    state = "skipped" if sent.type == "ping" else "failed"
    _end(conn, sent, state, call=call, code=code, detail=detail)
    if sent.event_id is not None:
        settling.update_event_state(conn, sent.event_id)
    _release(conn, sent)


def note_failure(conn: Connection, endpoint_id: int, reason: str) -> Failing:
    """Count a failure of the endpoint, and return what it has come to. Raises LookupError when it was removed."""
    with conn.cursor(row_factory=class_row(Failing)) as cursor:
        failing = cursor.execute(
            """
            UPDATE endpoints SET failures = failures + 1, failing_since = coalesce(failing_since, now()),
                   last_failure = %(reason)s, probe_task_id = NULL
            WHERE id = %(id)s
            RETURNING name, state, failures, extract(epoch FROM now() - failing_since)::float8 AS failing_seconds,
                      coalesce(extract(epoch FROM now() - held_at), 0)::float8 AS held_seconds
            """,
            {"id": endpoint_id, "reason": reason},
        ).fetchone()
    if failing is None:
        raise LookupError(f"endpoint {endpoint_id} is gone")
    return failing


def leave_alone(conn: Connection, endpoint_id: int, *, seconds: float) -> None:
    """Send the endpoint nothing for so long. A held one is probed then."""
    conn.execute(
        """
        UPDATE endpoints SET not_before = greatest(not_before, now() + make_interval(secs => %(wait)s)),
               probe_at = CASE WHEN held_cause = 'failures' THEN now() + make_interval(secs => %(wait)s) END
        WHERE id = %(id)s
        """,
        {"id": endpoint_id, "wait": seconds},
    )


def end_probe(conn: Connection, endpoint_id: int) -> None:
    """Let another notification probe a held endpoint: this one told nothing about it."""
    conn.execute("UPDATE endpoints SET probe_task_id = NULL WHERE id = %s", (endpoint_id,))


def _lock(conn: Connection, sent: ClaimedNotification) -> None:
    lock_conversation(conn, sent.tenant_id or 0, sent.conversation_id)


def _release(conn: Connection, sent: ClaimedNotification) -> None:
    """Release the action that waits for the notification, if it need not wait any more; else say why it still does."""
    if sent.releases and sent.tenant_id is not None:
        settling.release_actions(conn, sent.tenant_id, sent.conversation_id)


def _end(  # noqa: PLR0913 -- the columns of a task after an attempt
    conn: Connection,
    sent: ClaimedNotification,
    state: str,
    *,
    call: Mapping[str, Any] | None,
    code: str | None = None,
    detail: str | None = None,
) -> None:
    row = conn.execute(
        "SELECT end_task(%s, %s, %s, %s, %s)", (sent.id, sent.lease_epoch, state, code, detail)
    ).fetchone()
    check_owned(row and row[0])
    _end_attempt(conn, sent, state, call=call, code=code, detail=detail)


def _end_attempt(  # noqa: PLR0913 -- the columns of an attempt
    conn: Connection,
    sent: ClaimedNotification,
    outcome: str,
    *,
    call: Mapping[str, Any] | None,
    code: str | None,
    detail: str | None,
) -> None:
    conn.execute(
        "UPDATE attempts SET ended_at = clock_timestamp(), outcome = %s, code = %s, detail = %s, calls = %s"
        " WHERE task_id = %s AND epoch = %s",
        (outcome, code, detail, Jsonb([dict(call)] if call else []), sent.id, sent.lease_epoch),
    )
