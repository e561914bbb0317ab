"""The notifications of endpoints as tasks: chosen for the workers, claimed, and settled together with the endpoint.

Of one endpoint and conversation one notification is in work at a time, the lowest position first: one that waits for
its next attempt holds up the later ones of its conversation. Nothing here reads a tenant's cause, budget or outage.
Transactions lock a conversation first, then tasks, then the endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from shared.db.core.arrays import Bigints
from shared.db.core.locks import lock_conversation
from shared.db.core.pool import Connection
from shared.db.tasks import settling
from shared.db.tasks.dispatching import RESEND_SECONDS
from shared.db.tasks.leases import check_owned
from shared.host.notification import FILE_TYPES, Include

#: An endpoint whose answer takes longer is slow; one that fails counts as slow, too.
SLOW_SECONDS = 2.0
#: A success is written to the endpoint's row this often, unless it changes more than the time.
_SUCCESS_EVERY = "5 seconds"
#: After its release an endpoint gets what waited slowly, and ever faster, for so long.
_CATCHES_UP_SECONDS = 60
#: A held endpoint probes with the notification of these, by age, that has been tried least.
_PROBE_CANDIDATES = 1_000
#: A probe that was sent is given this long before the next one.
_PROBE_RUNS_SECONDS = 30.0

_IS_SLOW = f"(e.failures > 0 OR coalesce(e.last_seconds, 0) > {SLOW_SECONDS})"
_IS_FREE = """
NOT EXISTS (SELECT FROM tasks o WHERE o.endpoint_id = t.endpoint_id AND o.kind = 'notify' AND o.order_key = t.order_key
            AND o.state IN ('ready', 'queued', 'running') AND o.id <> t.id
            AND (o.position < t.position OR o.state IN ('queued', 'running')))
"""
#: The first due time of each endpoint's ready notifications, by a loose index scan: `notifying(endpoint_id, due_at)`.
FIRST_DUE_NOTIFICATIONS = """
notifying(endpoint_id, due_at) AS (
    (SELECT endpoint_id, due_at FROM tasks WHERE state = 'ready' AND kind = 'notify'
     ORDER BY endpoint_id, due_at LIMIT 1)
    UNION ALL
    SELECT next.* FROM notifying CROSS JOIN LATERAL (
        SELECT endpoint_id, due_at FROM tasks
        WHERE state = 'ready' AND kind = 'notify' AND endpoint_id > notifying.endpoint_id
        ORDER BY endpoint_id, due_at LIMIT 1) next
)
"""
#: Whether a ready notification of `notifying` may be sent to its endpoint `e` now.
MAY_BE_SENT = """
(notifying.due_at <= now() AND (
    e.state = 'open' AND e.not_before <= now()
    OR e.state = 'held' AND e.held_cause = 'failures' AND e.probe_at <= now() AND e.not_before <= now()
    OR e.state = 'held' AND EXISTS (SELECT FROM tasks p WHERE p.id = e.probe_task_id AND p.state = 'ready')))
"""
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
_HAS_DUE = f"""
WITH RECURSIVE {FIRST_DUE_NOTIFICATIONS}
SELECT EXISTS (SELECT FROM notifying JOIN endpoints e ON e.id = notifying.endpoint_id WHERE {MAY_BE_SENT})
""".encode()  # noqa: S608 -- text of ours
_WAITING = f"""
WITH RECURSIVE {FIRST_DUE_NOTIFICATIONS}
SELECT e.id, {_IS_SLOW} FROM notifying JOIN endpoints e ON e.id = notifying.endpoint_id
WHERE notifying.due_at <= now() AND e.state = 'open' AND e.not_before <= now()
  AND (%(only)s::bigint IS NULL OR e.id = %(only)s)
ORDER BY e.last_sent_at, e.id LIMIT %(limit)s FOR NO KEY UPDATE OF e SKIP LOCKED
""".encode()  # noqa: S608 -- text of ours
_IN_FLIGHT = f"""
SELECT t.endpoint_id, count(*), bool_or({_IS_SLOW})
FROM tasks t JOIN endpoints e ON e.id = t.endpoint_id
WHERE t.state IN ('queued', 'running') AND t.kind = 'notify' GROUP BY 1
""".encode()  # noqa: S608 -- text of ours
_QUEUE = f"""
WITH chosen AS (
    SELECT due.id FROM unnest(%(endpoints)s::bigint[], %(counts)s::bigint[]) AS a(endpoint_id, capacity)
    CROSS JOIN LATERAL (
        SELECT t.id FROM tasks t
        WHERE t.endpoint_id = a.endpoint_id AND t.kind = 'notify' AND t.state = 'ready' AND t.due_at <= now()
          AND {_IS_FREE}
        ORDER BY t.due_at, t.position LIMIT a.capacity FOR UPDATE OF t SKIP LOCKED
    ) due
), sent AS (
    UPDATE endpoints SET last_sent_at = clock_timestamp(), not_before = CASE
        WHEN released_at > now() - make_interval(secs => {_CATCHES_UP_SECONDS})
        THEN now() + make_interval(secs => 0.1 / power(2, extract(epoch FROM now() - released_at) / 15))
        ELSE not_before END
    WHERE id = ANY(%(endpoints)s)
)
UPDATE tasks SET state = 'queued', sends = least(sends + 1, 20),
       lease_until = now() + make_interval(secs => %(resend)s * power(2, least(tasks.sends, 6)))
FROM chosen WHERE tasks.id = chosen.id AND tasks.state = 'ready' RETURNING tasks.id
""".encode()  # noqa: S608 -- text of ours
_QUEUE_PROBES = f"""
WITH RECURSIVE {FIRST_DUE_NOTIFICATIONS}, asked AS (
    SELECT e.id, e.probe_task_id, e.held_cause = 'failures' AND e.probe_at <= now() AND e.not_before <= now() AS is_due
    FROM notifying JOIN endpoints e ON e.id = notifying.endpoint_id
    WHERE notifying.due_at <= now() AND e.state = 'held' FOR NO KEY UPDATE OF e SKIP LOCKED
), chosen AS (
    SELECT asked.id AS endpoint_id, due.id FROM asked CROSS JOIN LATERAL (
        SELECT t.id FROM tasks t
        WHERE t.id = asked.probe_task_id AND t.kind = 'notify' AND t.state = 'ready' AND t.due_at <= now()
        UNION ALL
        (SELECT oldest.id FROM (
            SELECT t.id, t.attempts, t.position FROM tasks t
            WHERE asked.is_due AND t.endpoint_id = asked.id AND t.kind = 'notify' AND t.state = 'ready'
              AND t.due_at <= now() AND {_IS_FREE}
            ORDER BY t.due_at, t.position LIMIT {_PROBE_CANDIDATES}) oldest
         ORDER BY oldest.attempts, oldest.position LIMIT 1)
        LIMIT 1
    ) due
), probing AS (
    UPDATE endpoints e SET probe_task_id = chosen.id, last_sent_at = clock_timestamp(),
           probe_at = greatest(e.probe_at, now() + make_interval(secs => {_PROBE_RUNS_SECONDS}))
    FROM chosen WHERE e.id = chosen.endpoint_id
)
UPDATE tasks SET state = 'queued', sends = least(sends + 1, 20), lease_until = now() + make_interval(secs => %(resend)s)
FROM chosen WHERE tasks.id = chosen.id AND tasks.state = 'ready' RETURNING tasks.id
""".encode()  # noqa: S608 -- text of ours
_GOES = """
((e.state = 'open' OR e.probe_task_id IS NOT DISTINCT FROM tasks.id)
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


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The endpoints with something to send, by turns; how many notifications each has in flight; which are slow."""

    waiting: Sequence[int]
    in_flight: Mapping[int, int]
    slow: frozenset[int]


def fan_out(conn: Connection, first: int, last: int) -> int:
    """Make a task for each of these notifications and each endpoint that wants it; return their number.

    An endpoint gets what was noted after it was added.
    """
    row = conn.execute(_FAN_OUT, {"first": first, "last": last, "file_types": list(FILE_TYPES)}).fetchone()
    return int(row[0]) if row else 0


def has_due(conn: Connection) -> bool:
    """Whether any notification may be sent now. Needs no transaction."""
    row = conn.execute(_HAS_DUE).fetchone()
    return bool(row and row[0])


def candidates(conn: Connection, *, only: int | None = None, limit: int = 200) -> Candidates:
    """Return the endpoints that something could be sent to now, and lock those that wait. `only`: just this one."""
    waiting = conn.execute(_WAITING, {"only": only, "limit": limit}).fetchall()
    flying = conn.execute(_IN_FLIGHT).fetchall() if waiting else []
    slow = {endpoint for endpoint, is_slow in waiting if is_slow}
    return Candidates(
        waiting=[endpoint for endpoint, _ in waiting],
        in_flight={endpoint: count for endpoint, count, _ in flying},
        slow=frozenset(slow | {endpoint for endpoint, _, is_slow in flying if is_slow}),
    )


def queue(conn: Connection, allotted: Mapping[int, int]) -> list[int]:
    """Queue so many due notifications of each endpoint, in the transaction of `candidates`; return the tasks' ids."""
    if not allotted:
        return []
    values = {
        "endpoints": Bigints(allotted),
        "counts": Bigints(allotted.values()),
        "resend": RESEND_SECONDS,
    }
    return [task_id for (task_id,) in conn.execute(_QUEUE, values)]


def queue_probes(conn: Connection) -> list[int]:
    """Queue the notifications that find out whether a held endpoint answers again; return the tasks' ids."""
    return [task_id for (task_id,) in conn.execute(_QUEUE_PROBES, {"resend": RESEND_SECONDS})]


def claim(conn: Connection, task_id: int, worker: str, *, lease_seconds: float) -> ClaimedNotification | None:
    """Claim the notification for an attempt, if it is due and its endpoint takes any. Needs no transaction."""
    with conn.cursor(row_factory=class_row(ClaimedNotification)) as cursor:
        claimed = cursor.execute(_CLAIM, {"id": task_id, "lease": lease_seconds, "worker": worker}).fetchone()
    if claimed is None:
        conn.execute(_HAND_BACK, (task_id,))
    return claimed


def settle_sent(conn: Connection, sent: ClaimedNotification, *, call: Mapping[str, Any], seconds: float) -> None:
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
