"""The notifications of endpoints as tasks: made for each endpoint, claimed, and settled together with the endpoint.

Transactions lock a conversation first, then tasks, then the endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from psycopg.rows import class_row

from shared.db.core.arrays import Bigints, Texts
from shared.db.core.locks import lock_conversation
from shared.db.core.pool import Connection
from shared.db.host.due_notifications import CATCHES_UP_SECONDS, IS_FREE, IS_QUICK, QUICK_SECONDS, SLOW_SECONDS
from shared.db.tasks import settling
from shared.db.tasks.leases import check_owned
from shared.host.notification import Include

#: The most notifications of one claim. A worker that dies may have sent them all: then each comes again.
MOST_AT_ONCE = 8
#: A claim takes as many notifications as the endpoint took in this time at its last answer.
_BATCH_SECONDS = 0.25
#: A success is written to the endpoint's row this often, unless it changes more than the time.
_SUCCESS_EVERY = "5 seconds"
#: Makes a task for each notification of `numbered` and each endpoint that wants it. An endpoint gets what was noted
#: after it was added. A held endpoint is told of a test at once. Nobody else is told of it, nor is an endpoint told of
#: itself.
FAN_OUT = """
told AS (
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
_MOST = f"""
CASE WHEN e.state = 'open' AND {IS_QUICK} AND e.not_before <= now()
          AND coalesce(e.released_at, '-infinity') < now() - make_interval(secs => {CATCHES_UP_SECONDS})
     THEN least({MOST_AT_ONCE}, greatest(1, {_BATCH_SECONDS} / greatest(e.last_seconds, 0.001)))::int ELSE 1 END
"""
_CLAIM = f"""
WITH asked AS MATERIALIZED (
    SELECT tasks.id, tasks.endpoint_id, {_MOST} AS most FROM tasks JOIN endpoints e ON e.id = tasks.endpoint_id
    WHERE tasks.id = %(id)s AND tasks.kind = 'notify' AND tasks.state IN ('ready', 'queued') AND tasks.due_at <= now()
      AND {_GOES}
), others AS MATERIALIZED (
    SELECT due.id FROM asked CROSS JOIN LATERAL (
        SELECT t.id FROM tasks t
        WHERE t.endpoint_id = asked.endpoint_id AND t.kind = 'notify' AND t.state = 'ready' AND t.due_at <= now()
          AND t.id <> asked.id AND {IS_FREE}
        ORDER BY t.due_at, t.position LIMIT asked.most - 1 FOR UPDATE OF t SKIP LOCKED
    ) due
), claimed AS (
    UPDATE tasks SET state = 'running', lease_epoch = lease_epoch + 1, attempts = attempts + 1, sends = 0,
           lease_until = now() + make_interval(secs => %(lease)s)
    FROM endpoints e
    WHERE tasks.id = ANY(ARRAY(SELECT id FROM asked UNION ALL SELECT id FROM others))
      AND tasks.state IN ('ready', 'queued') AND e.id = tasks.endpoint_id AND {_GOES}
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
FROM claimed JOIN notifications n ON n.position = claimed.position ORDER BY claimed.position
""".encode()  # noqa: S608 -- text of ours
_HAND_BACK = f"""
UPDATE tasks SET state = 'ready', lease_until = NULL, sends = 0 FROM endpoints e
WHERE tasks.id = %s AND tasks.kind = 'notify' AND tasks.state = 'queued' AND e.id = tasks.endpoint_id AND NOT {_GOES}
""".encode()  # noqa: S608 -- text of ours


_SETTLE_TAKEN = f"""
WITH taken AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(epochs)s::int[], %(calls)s::text[]) AS s(id, epoch, calls)
), ended AS (
    UPDATE tasks SET state = 'done', code = NULL, detail = NULL, lease_until = NULL, settled_at = now()
    FROM taken WHERE tasks.id = taken.id AND tasks.lease_epoch = taken.epoch AND tasks.state = 'running'
    RETURNING tasks.id, taken.epoch, taken.calls
), noted AS (
    UPDATE attempts a SET ended_at = clock_timestamp(), outcome = 'done', calls = ended.calls::jsonb
    FROM ended WHERE a.task_id = ended.id AND a.epoch = ended.epoch
), answered AS (
    UPDATE endpoints SET last_success_at = now(), last_seconds = %(seconds)s, failures = 0, failing_since = NULL,
           last_failure = NULL, probe_task_id = NULL
    WHERE id = %(endpoint)s AND EXISTS (SELECT FROM ended)
      AND (failures > 0 OR last_success_at IS NULL OR last_seconds IS NULL
           OR last_success_at < now() - interval '{_SUCCESS_EVERY}'
           OR (last_seconds > {SLOW_SECONDS}) <> (%(seconds)s::real > {SLOW_SECONDS})
           OR (last_seconds > {QUICK_SECONDS}) <> (%(seconds)s::real > {QUICK_SECONDS}))
)
SELECT id FROM ended
""".encode()  # noqa: S608 -- numbers of ours
_GIVE_BACK = b"""
WITH unsent AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(epochs)s::int[]) AS s(id, epoch)
), back AS (
    UPDATE tasks SET state = 'ready', lease_until = NULL, attempts = attempts - 1
    FROM unsent WHERE tasks.id = unsent.id AND tasks.lease_epoch = unsent.epoch AND tasks.state = 'running'
    RETURNING tasks.id, unsent.epoch
)
DELETE FROM attempts a USING back WHERE a.task_id = back.id AND a.epoch = back.epoch
"""


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
class TakenNotification:
    """A notification that its endpoint took: the request for the attempt's record, and how long the answer took."""

    claimed: ClaimedNotification
    call: Mapping[str, Any] | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Failing:
    """An endpoint after another failure: how many there are in a row, and for how long, in seconds."""

    name: str
    state: str
    failures: int
    failing_seconds: float
    held_seconds: float


def claim(conn: Connection, task_id: int, worker: str, *, lease_seconds: float) -> list[ClaimedNotification]:
    """Claim the notification for an attempt, if it is due and its endpoint takes any, and return it.

    Of an endpoint that answers quickly up to `MOST_AT_ONCE` that are due come along, each of another conversation,
    lowest position first. Needs no transaction.
    """
    with conn.cursor(row_factory=class_row(ClaimedNotification)) as cursor:
        claimed = cursor.execute(_CLAIM, {"id": task_id, "lease": lease_seconds, "worker": worker}).fetchall()
    if not claimed:
        conn.execute(_HAND_BACK, (task_id,))
    return claimed


def settle_taken(conn: Connection, taken: Sequence[TakenNotification]) -> set[int]:
    """End notifications that one endpoint took and that no action waits for. Needs no transaction.

    Returns the numbers of their tasks, without those whose lease was lost.
    """
    values = {
        "ids": Bigints(each.claimed.id for each in taken),
        "epochs": Bigints(each.claimed.lease_epoch for each in taken),
        "calls": Texts(_calls_json(each.call) for each in taken),
        "endpoint": taken[0].claimed.endpoint_id,
        "seconds": sum(each.seconds for each in taken) / len(taken),
    }
    return {task_id for (task_id,) in conn.execute(_SETTLE_TAKEN, values)}


def give_back(conn: Connection, unsent: Sequence[ClaimedNotification]) -> None:
    """Put notifications back that were claimed and not sent, as if nobody had claimed them. Needs no transaction."""
    ids, epochs = Bigints(each.id for each in unsent), Bigints(each.lease_epoch for each in unsent)
    conn.execute(_GIVE_BACK, {"ids": ids, "epochs": epochs})


def settle_sent(conn: Connection, sent: TakenNotification) -> None:
    """End a notification that its endpoint took, and release the action that waited for it. Raises Fenced."""
    claimed = sent.claimed
    if claimed.releases:
        _lock(conn, claimed)
    check_owned(bool(settle_taken(conn, [sent])))
    _release(conn, claimed)


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
        "UPDATE attempts SET ended_at = clock_timestamp(), outcome = %s, code = %s, detail = %s, calls = %s::jsonb"
        " WHERE task_id = %s AND epoch = %s",
        (outcome, code, detail, _calls_json(call), sent.id, sent.lease_epoch),
    )


def _calls_json(call: Mapping[str, Any] | None) -> str:
    return orjson.dumps([dict(call)] if call else []).decode()
