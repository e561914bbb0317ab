"""Chooses the due notifications that go to the workers next, by turns of their endpoints.

Of one endpoint and conversation one notification is in work at a time, the lowest position first: one that waits for
its next attempt holds up the later ones of its conversation. Nothing here reads a tenant's cause, budget or outage.

The dispatcher queues a notification, and the worker that claims it takes more of a quick endpoint along, to send them
one after the other. Those of one claim have the same lease, and count as one in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.db.core.arrays import Bigints
from shared.db.core.locks import HAS_NOTIFYING, ask_for_notifying
from shared.db.core.pool import Connection
from shared.db.tasks.dispatching import RESEND_SECONDS

#: An endpoint whose answer takes longer is slow; one that fails counts as slow, too.
SLOW_SECONDS = 2.0
#: An endpoint that answers within this, and does not fail, is quick.
QUICK_SECONDS = 0.25
#: After its release an endpoint gets what waited slowly, and ever faster, for so long.
CATCHES_UP_SECONDS = 60
#: A held endpoint probes with the notification of these, by age, that has been tried least.
_PROBE_CANDIDATES = 1_000
#: A probe that was sent is given this long before the next one.
_PROBE_RUNS_SECONDS = 30.0

_IS_SLOW = f"(e.failures > 0 OR coalesce(e.last_seconds, 0) > {SLOW_SECONDS})"
#: Whether an endpoint `e` is quick.
IS_QUICK = f"(e.failures = 0 AND e.last_seconds <= {QUICK_SECONDS})"
#: Whether no other notification of `t`'s endpoint and conversation goes first or is in work.
IS_FREE = """
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
_HAS_DUE = f"""
WITH RECURSIVE {FIRST_DUE_NOTIFICATIONS}
SELECT EXISTS (SELECT FROM notifying JOIN endpoints e ON e.id = notifying.endpoint_id WHERE {MAY_BE_SENT})
""".encode()  # noqa: S608 -- text of ours
_WAITING = f"""
WITH RECURSIVE {FIRST_DUE_NOTIFICATIONS}
SELECT e.id, {_IS_SLOW}, {IS_QUICK} FROM notifying JOIN endpoints e ON e.id = notifying.endpoint_id
WHERE {HAS_NOTIFYING} AND notifying.due_at <= now() AND e.state = 'open' AND e.not_before <= now()
ORDER BY e.last_sent_at, e.id LIMIT %(limit)s FOR NO KEY UPDATE OF e SKIP LOCKED
""".encode()  # noqa: S608 -- text of ours
_IN_FLIGHT = f"""
SELECT t.endpoint_id,
       count(*) FILTER (WHERE t.state = 'queued') + count(DISTINCT t.lease_until) FILTER (WHERE t.state = 'running'),
       bool_or({_IS_SLOW}), bool_and({IS_QUICK})
FROM tasks t JOIN endpoints e ON e.id = t.endpoint_id
WHERE t.state IN ('queued', 'running') AND t.kind = 'notify' GROUP BY 1
""".encode()  # noqa: S608 -- text of ours
_OTHERS_IN_FLIGHT = b"SELECT count(*) FROM tasks WHERE state IN ('queued', 'running') AND kind <> 'notify'"
_QUEUE = f"""
WITH chosen AS (
    SELECT due.id FROM unnest(%(endpoints)s::bigint[], %(counts)s::bigint[]) AS a(endpoint_id, capacity)
    CROSS JOIN LATERAL (
        SELECT t.id FROM tasks t
        WHERE t.endpoint_id = a.endpoint_id AND t.kind = 'notify' AND t.state = 'ready' AND t.due_at <= now()
          AND {IS_FREE}
        ORDER BY t.due_at, t.position LIMIT a.capacity FOR UPDATE OF t SKIP LOCKED
    ) due
), sent AS (
    UPDATE endpoints SET last_sent_at = clock_timestamp(), not_before = CASE
        WHEN released_at > now() - make_interval(secs => {CATCHES_UP_SECONDS})
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
              AND t.due_at <= now() AND {IS_FREE}
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


@dataclass(frozen=True, kw_only=True)
class DueNotifications:
    """The endpoints with something to send, by turns; how many claims each has in flight; which are slow or quick.

    `others` is the number of tasks in flight that are no notifications.
    """

    waiting: Sequence[int]
    in_flight: Mapping[int, int]
    slow: frozenset[int]
    quick: frozenset[int]
    others: int


def has_due(conn: Connection) -> bool:
    """Whether any notification may be sent now. Needs no transaction."""
    row = conn.execute(_HAS_DUE).fetchone()
    return bool(row and row[0])


def start_choosing(conn: Connection, *, limit: int = 200) -> Callable[[], DueNotifications | None]:
    """Look for the endpoints that something could be sent to now, and lock those that wait.

    Returns the function that gives them: in a pipeline only that function waits. None: another transaction chooses.
    Whoever chose looks again afterwards, and so sees what became due meanwhile.
    """
    lock = ask_for_notifying(conn)
    waiting = conn.execute(_WAITING, {"limit": limit})
    in_flight, others = conn.execute(_IN_FLIGHT), conn.execute(_OTHERS_IN_FLIGHT)

    def found() -> DueNotifications | None:
        if lock.fetchone() != ("true",):
            return None
        return _candidates(waiting.fetchall(), in_flight.fetchall(), others.fetchone())

    return found


def _candidates(
    waiting: Sequence[tuple[Any, ...]], flying: Sequence[tuple[Any, ...]], others: tuple[Any, ...] | None
) -> DueNotifications:
    known = [(endpoint, is_slow, is_quick) for endpoint, *_, is_slow, is_quick in (*waiting, *flying)]
    return DueNotifications(
        waiting=[endpoint for endpoint, *_ in waiting],
        in_flight={endpoint: count for endpoint, count, *_ in flying},
        slow=frozenset(endpoint for endpoint, is_slow, _ in known if is_slow),
        quick=frozenset(endpoint for endpoint, _, is_quick in known if is_quick),
        others=others[0] if others else 0,
    )


def queue(conn: Connection, allotted: Mapping[int, int]) -> list[int]:
    """Queue so many due notifications of each endpoint, in the transaction that chose; return the tasks' ids."""
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
