"""Events as people see them: lists, the search by any id, and all that is known of one event."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from shared.db.reading import attempts
from shared.db.reading.attempts import AttemptView
from shared.db.reading.filters import (
    FREQUENT_KINDS,
    LATE,
    OF_ADDRESS,
    OF_CONVERSATION,
    PARKED_TENANTS,
    RARE_KIND,
    RECORDED_LATE,
    SHOWN_TASK_STATE,
    Filter,
    address_values,
    highest_id,
    lowest_id,
    of_type,
    where,
)
from shared.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.db.core.pool import Connection
    from shared.models import Quota

T = TypeVar("T")

LONGEST_NAME = 200
DELIVERY_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class EventSummary:
    """An event as a list shows it; `number` is our id of it, `id` Front's."""

    id: str
    number: int
    company_id: str
    tenant: str | None
    type: str
    state: str
    cause: str | None
    conversation_id: str | None
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class FirstEvent:
    """An event without any address or content; `recipients` and `matched` are numbers of recipients."""

    id: str
    type: str
    state: str
    cause: str | None
    received_at: datetime
    recipients: int
    matched: int


@dataclass(frozen=True, kw_only=True)
class EventHeader:
    """The event itself, in its shown state; `number` is our id of it, `id` Front's.

    `files_held`: the quota of its tenant that is used up, so that files wait.
    """

    number: int
    id: str
    company_id: str
    tenant_id: int | None
    tenant: str | None
    type: str
    state: str
    cause: str | None
    conversation_id: str | None
    message_id: str | None
    emitted_at: datetime | None
    received_at: datetime
    recorded_at: datetime
    parked_at: datetime | None
    files_held: Quota | None = None


@dataclass(frozen=True, kw_only=True)
class DeliveryView:
    """A delivery of the event; `has_body` says whether the event's body is stored with it."""

    id: UUID
    received_at: datetime
    origin: str
    has_body: bool = False


@dataclass(frozen=True, kw_only=True)
class RecipientView:
    """A recipient, the user it was matched with, and the reason for the match or for none."""

    handle: str
    role: str
    reason: str
    user_id: str | None
    user_name: str | None


@dataclass(frozen=True, kw_only=True)
class AttachmentView:
    """A file and its state; `size` and `sha256` are of the stored bytes, `content_type` is what the sender claims.

    `declared_size` is the size that the message announces. `task_id` is the task that stores the file.
    """

    id: str
    number: int
    filename: str
    content_type: str
    state: str
    size: int | None
    sha256: str | None
    path: str | None
    stored_at: datetime | None
    declared_size: int | None = None
    is_inline: bool = False
    task_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class ActionView:
    """The change of the conversation: planned, sent, or not to be made, with the reason."""

    kind: str
    state: str
    reason: str
    intent_at: datetime | None
    settled_at: datetime | None
    dry_run: bool = False
    undone_at: datetime | None = None
    undo_asked_at: datetime | None = None
    wait_for: str = "stored"


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """A task of the conversation for which an action waits; `filename` is that of its file, `event` is Front's id."""

    task_id: int
    kind: str
    state: str
    filename: str | None
    event: str


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """A task of the event. `due_at` is None while it waits for another task."""

    id: int
    kind: str
    state: str
    code: str | None
    detail: str | None
    attempts: int
    due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class JournalView:
    """A decision about the event that no other row tells."""

    at: datetime
    what: str
    who: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class EventDetails:
    """One event with everything that belongs to it. `blockers` are the tasks for which its action waits, at most 20."""

    header: EventHeader
    deliveries: list[DeliveryView]
    recipients: list[RecipientView]
    attachments: list[AttachmentView]
    action: ActionView | None
    tasks: list[TaskView]
    attempts: list[AttemptView]
    journal: list[JournalView]
    blockers: list[Blocker] = field(default_factory=list)


SUMMARIES = """
    SELECT e.front_id AS id, e.id AS number, e.company_id, t.name AS tenant, e.type, e.conversation_id, e.received_at,
        CASE WHEN e.state = 'processing' AND t.parked_cause IS NOT NULL THEN 'parked' ELSE e.state END AS state,
        CASE WHEN e.state = 'processing' AND t.parked_cause IS NOT NULL THEN t.parked_cause ELSE e.cause END AS cause
    FROM events e LEFT JOIN tenants t ON t.id = e.tenant_id
"""
# Each condition is written for an index: see those of `events` and `tasks` in schema.sql. Work in process of a parked
# tenant is shown as parked: two conditions are two queries, because no index gives rows of either in their order.
STATES: Mapping[str, tuple[str, ...]] = {
    **{state: (f"e.state = '{state}'",) for state in ("done", "ignored", "failed")},
    "processing": (f"e.state = 'processing' AND e.tenant_id <> ALL({PARKED_TENANTS})",),
    "parked": ("e.state = 'parked'", f"e.state = 'processing' AND e.tenant_id = ANY({PARKED_TENANTS})"),
}
CONDITIONS = {
    "tenant_id": "e.tenant_id = %(tenant_id)s",
    "since": "e.received_at >= %(since)s",
    "until": "e.received_at < %(until)s",
    "conversation_id": OF_CONVERSATION,
    "email": OF_ADDRESS,
    "before_id": "e.id < %(before_id)s",
}

HEADER = """
    SELECT s.id AS number, s.front_id AS id, s.company_id, s.tenant_id, s.tenant, s.type, s.state, s.cause,
        s.conversation_id, s.message_id, s.emitted_at, s.received_at, s.recorded_at, t.parked_at, t.files_held
    FROM shown_events s LEFT JOIN tenants t ON t.id = s.tenant_id WHERE s.id = %s
"""
DELIVERIES = """
    SELECT id, received_at, origin, body IS NOT NULL AS has_body FROM deliveries
    WHERE event_id = %s ORDER BY received_at, id
"""
RECIPIENTS = """
    SELECT r.handle, r.role, r.reason, u.external_id AS user_id, u.name AS user_name
    FROM recipients r LEFT JOIN users u ON u.tenant_id = r.tenant_id AND u.id = r.user_id
    WHERE r.event_id = %s ORDER BY r.position
"""
ATTACHMENTS = """
    SELECT a.front_id AS id, a.id AS number, a.filename, a.content_type, a.state, a.size, a.sha256, a.path, a.stored_at,
        a.declared_size, a.is_inline, k.id AS task_id
    FROM attachments a LEFT JOIN tasks k ON k.event_id = a.event_id AND k.attachment_id = a.id
    WHERE a.event_id = %s ORDER BY a.id
"""
ACTION = """
    SELECT kind, state, reason, intent_at, settled_at, dry_run, undone_at, undo_asked_at, wait_for
    FROM actions WHERE event_id = %s
"""
BLOCKERS = f"""
    SELECT k.id AS task_id, k.kind, {SHOWN_TASK_STATE} AS state, a.filename, e.front_id AS event
    FROM actions own
    JOIN events e ON e.tenant_id = own.tenant_id
        AND e.conversation_id = ANY(conversation_family_array(own.tenant_id, own.conversation_id))
    JOIN tasks k ON k.event_id = e.id AND k.kind IN ('record', 'fetch_message', 'store_attachment')
    LEFT JOIN attachments a ON a.event_id = e.id AND a.id = k.attachment_id
    LEFT JOIN tenants t ON t.id = k.tenant_id
    WHERE own.event_id = %s AND own.state IN ('planned', 'intent')
      AND CASE WHEN a.id IS NULL THEN k.state NOT IN ('done', 'discarded') ELSE a.state IN ('waiting', 'failed') END
    ORDER BY k.id LIMIT 20
"""  # noqa: S608 -- text of ours
TASK_COLUMNS = (
    f"SELECT k.id, k.kind, {SHOWN_TASK_STATE} AS state, k.code, k.detail, k.attempts, "
    "nullif(k.due_at, 'infinity') AS due_at"
)
TASKS = "FROM tasks k LEFT JOIN tenants t ON t.id = k.tenant_id WHERE k.event_id = %s ORDER BY k.id"
JOURNAL = "SELECT at, what, who, detail FROM journal WHERE event_id = %s ORDER BY id"


def latest(conn: Connection, wanted: Filter, *, limit: int) -> list[EventSummary]:
    """Return the latest events that match the filter, latest first."""
    addresses = address_values(conn, wanted.email) if wanted.email else {}
    values = {**wanted.values(), **addresses, "limit": limit}
    found: list[EventSummary] = []
    for conditions in _alternatives(conn, wanted):
        query = sql.SQL(SUMMARIES) + where(wanted, conditions) + sql.SQL(" ORDER BY e.id DESC LIMIT %(limit)s")
        with conn.cursor(row_factory=class_row(EventSummary)) as cursor:
            found += cursor.execute(query, values).fetchall()
    return sorted(found, key=lambda row: row.number, reverse=True)[:limit]


def _alternatives(conn: Connection, wanted: Filter) -> Iterator[dict[str, str]]:
    """Yield the conditions of each query: together they give all events that match, and none twice."""
    common = CONDITIONS | {"kind": _of_kind(wanted.kind), "type": of_type(wanted.type), "code": _of_code(wanted.state)}
    if wanted.since:
        common["since"] += f" AND e.id >= {lowest_id(conn, 'events', 'recorded_at', wanted.since)}"
    for state, until in product(STATES.get(wanted.state or "", ("false",)), _untils(conn, wanted.until)):
        yield common | {"state": state, "until": until}


def _untils(conn: Connection, until: datetime | None) -> tuple[str, ...]:
    """Return the conditions for events received before then: recorded in order, or late."""
    if until is None:
        return ("",)
    highest = highest_id(conn, "events", "recorded_at", until + LATE)
    received = CONDITIONS["until"]
    return f"{received} AND e.id <= {highest}", f"{received} AND e.id > {highest} AND {RECORDED_LATE}"


def _of_kind(kind: str | None) -> str:
    if kind in FREQUENT_KINDS:
        return "EXISTS (SELECT FROM tasks k WHERE k.event_id = e.id AND k.kind = %(kind)s)"
    return f"e.id IN (SELECT k.event_id FROM tasks k WHERE {RARE_KIND})"  # noqa: S608 -- text of ours


def _of_code(state: str | None) -> str:
    """Return the condition for events with this code: of one of their tasks, of their own, or of their tenant."""
    by_task = "SELECT k.event_id FROM tasks k WHERE k.code = %(code)s"
    by_cause = "SELECT c.id FROM events c WHERE c.cause = %(code)s"
    parked = "ARRAY(SELECT id FROM tenants WHERE parked_cause = %(code)s)"
    by_tenant = f"SELECT p.id FROM events p WHERE p.state = 'processing' AND p.tenant_id = ANY({parked})"  # noqa: S608 -- text of ours
    if state not in {None, "failed"}:  # then no task of the event is failed
        by_task += " AND k.state <> 'failed'"
    if state == "parked":  # these events are few
        return f"(e.cause = %(code)s OR e.tenant_id = ANY({parked}) OR e.id IN ({by_task}))"
    # Events in work and events that are done have no cause of their own.
    sources = {None: (by_task, by_cause, by_tenant), "done": (by_task,), "processing": (by_task,)}
    # OFFSET has the ids found first: the planner would rather look up the tasks of each event.
    return f"e.id IN ({' UNION ALL '.join(sources.get(state, (by_task, by_cause)))} OFFSET 0)"


def find_by_any_id(
    conn: Connection, name: str, *, company_id: str | None = None, tenant_id: int | None = None
) -> list[EventSummary]:
    """Return the events with this id, which may be Front's, our number, or the id of a delivery.

    `company_id` and `tenant_id` narrow the search.
    """
    name = clean(name, LONGEST_NAME)
    conditions = ["e.front_id = %(name)s"]
    if name.isascii() and name.isdigit() and len(name) < 19:
        conditions.append("e.id = %(name)s::bigint")
    if DELIVERY_ID.fullmatch(name):
        conditions.append("e.id = (SELECT event_id FROM deliveries WHERE id = %(name)s::uuid)")
    any_id = sql.SQL(" OR ".join(conditions))
    narrowed = sql.SQL(
        "WHERE ({}) AND (%(company)s::text IS NULL OR e.company_id = %(company)s)"
        " AND (%(tenant)s::bigint IS NULL OR e.tenant_id = %(tenant)s)"
    ).format(any_id)
    values = {"name": name, "company": company_id, "tenant": tenant_id}
    with conn.cursor(row_factory=class_row(EventSummary)) as cursor:
        return cursor.execute(sql.SQL(SUMMARIES) + narrowed, values).fetchall()


def first_since(conn: Connection, tenant_id: int, since: datetime) -> FirstEvent | None:
    """Return the tenant's first event with a delivery received after `since`."""
    with conn.cursor(row_factory=class_row(FirstEvent)) as cursor:
        return cursor.execute(
            """
            SELECT s.front_id AS id, s.type, s.state, s.cause, s.received_at, count(r.event_id) AS recipients,
                count(r.user_id) AS matched
            FROM (SELECT * FROM shown_events WHERE tenant_id = %s AND received_at > %s
                  ORDER BY received_at, id LIMIT 1) s
            LEFT JOIN recipients r ON r.event_id = s.id AND r.role IN ('to', 'cc', 'bcc')
            GROUP BY s.front_id, s.type, s.state, s.cause, s.received_at
            """,
            (tenant_id, since),
        ).fetchone()


def first_body(conn: Connection, number: int) -> bytes | None:
    """Return the stored body of the event, compressed; None when retention removed it."""
    row = conn.execute(
        "SELECT body FROM deliveries WHERE event_id = %s AND body IS NOT NULL ORDER BY received_at, id LIMIT 1",
        (number,),
    ).fetchone()
    return bytes(row[0]) if row else None


def event_details(conn: Connection, number: int) -> EventDetails | None:
    """Return all that is known of the event with this number of ours, or None.

    Call it inside a transaction, so that all parts are of one moment.
    """
    header = _rows(conn, EventHeader, HEADER, number)
    if not header:
        return None
    return EventDetails(
        header=header[0],
        deliveries=_rows(conn, DeliveryView, DELIVERIES, number),
        recipients=_rows(conn, RecipientView, RECIPIENTS, number),
        attachments=_rows(conn, AttachmentView, ATTACHMENTS, number),
        action=action_of(conn, number),
        tasks=_rows(conn, TaskView, f"{TASK_COLUMNS} {TASKS}", number),
        attempts=attempts.of_event(conn, number),
        journal=_rows(conn, JournalView, JOURNAL, number),
        blockers=_rows(conn, Blocker, BLOCKERS, number),
    )


def action_of(conn: Connection, number: int) -> ActionView | None:
    """Return the action of the event, if it has one."""
    return next(iter(_rows(conn, ActionView, ACTION, number)), None)


def _rows(conn: Connection, row_class: type[T], query: str, number: int) -> list[T]:
    with conn.cursor(row_factory=class_row(row_class)) as cursor:
        return cursor.execute(query.encode(), (number,)).fetchall()
