"""The recorder's statements: one for each table and chunk, however many rows the chunk has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.rows import class_row
from psycopg.sql import SQL

from shared.db.core.arrays import Bigints, Texts
from shared.db.core.locks import lock_conversations, prevent_erasing
from shared.db.core.pool import Connection
from shared.db.recording.rows import ActionRow, AttachmentRow, DeliveryRow, EventRow, TaskRow, columns
from shared.db.tasks.dispatching import RESEND_SECONDS, SENDABLE
from shared.models import AddressOwner, EventKey, MatchedUser, Owners, SharedInbox, Tenant

T = TypeVar("T")

# Looks each address up by its key; `OFFSET 0` leaves the planner no other plan. With plain joins, PostgreSQL read every
# user for every chunk while filled tables were not yet analysed: with a million users, 4,100 us for each event.
OWNERS = """
    SELECT k.tenant_id, k.address, a.position, i.inbox_name,
        u.id, u.external_id, u.active, u.action, d.id, d.external_id, d.active, d.action
    FROM unnest(%s::bigint[], %s::text[]) AS k(tenant_id, address)
    LEFT JOIN LATERAL (
        SELECT * FROM user_addresses WHERE tenant_id = k.tenant_id AND address = k.address OFFSET 0
    ) a ON true
    LEFT JOIN LATERAL (
        SELECT i.*, t.default_owner FROM inbox_addresses i JOIN tenants t ON t.id = i.tenant_id
        WHERE i.tenant_id = k.tenant_id AND address = k.address OFFSET 0
    ) i ON true
    LEFT JOIN LATERAL (
        SELECT * FROM users WHERE tenant_id = k.tenant_id AND id = coalesce(a.user_id, i.user_id) OFFSET 0
    ) u ON true
    LEFT JOIN LATERAL (SELECT * FROM users WHERE tenant_id = i.tenant_id AND id = i.default_owner OFFSET 0) d ON true
    WHERE a.address IS NOT NULL OR i.address IS NOT NULL
"""


#: Gives what a statement found. In a pipeline, answers that are taken after the last of some statements share a round
#: trip.
Answer = Callable[[], T]


class Merge(NamedTuple):
    """A conversation that was merged into another one of the same tenant, as an event tells."""

    tenant_id: int
    merged_id: str
    surviving_id: str


def begin_writing(conn: Connection) -> datetime:
    """Start a transaction that writes, and return the database's time. No company can be erased until it ends."""
    return start_writing(conn)()


def start_writing(conn: Connection) -> Answer[datetime]:
    """Do what `begin_writing` does. In a pipeline it waits for nothing; the answer gives the time."""
    prevent_erasing(conn)
    return start_reading(conn)


def start_reading(conn: Connection) -> Answer[datetime]:
    """Start a transaction that only reads; the answer gives the database's time.

    It turns sequential scans off, because foreign-key checks are planned once for each session. Plans made while the
    tables are still empty would scan them for ever after: 384 instead of 7,761 events/s in a prototype.
    """
    asked = conn.execute("SELECT now(), set_config('enable_seqscan', 'off', true)")

    @cache
    def time() -> datetime:
        row = asked.fetchone()
        assert row is not None  # noqa: S101 -- SELECT without FROM gives one row
        return row[0]  # type: ignore[no-any-return]

    return time


def tenants_of(conn: Connection, company_ids: Iterable[str]) -> dict[str, Tenant]:
    """Return the tenants of these companies, by company id."""
    with conn.cursor(row_factory=class_row(Tenant)) as cur:
        cur.execute(
            """
            SELECT id, company_id, connected_at, action, only_when_matched, wait_for, fold_plus, act_within,
                   only_inboxes, dry_run, act_after
            FROM tenants WHERE company_id = ANY(%s)
            """,
            (list(company_ids),),
        )
        return {tenant.company_id: tenant for tenant in cur}


def owners_of(conn: Connection, keys: Iterable[tuple[int, str]]) -> dict[int, Owners]:
    """Find the owners of these (tenant id, address key) pairs, by tenant id and address key.

    An address of both a user and a shared inbox belongs to the user.
    """
    pairs = list(keys)
    if not pairs:
        return {}
    rows = conn.execute(OWNERS, (Bigints(tenant_id for tenant_id, _ in pairs), Texts(address for _, address in pairs)))
    owners: dict[int, dict[str, AddressOwner | SharedInbox]] = {}
    for tenant_id, address, position, inbox_name, *users in rows:
        own, default = users[:4], users[4:]
        owners.setdefault(tenant_id, {})[address] = (
            SharedInbox(name=inbox_name, user=_user(own), default_owner=_user(default))
            if position is None
            else AddressOwner(user_id=own[0], external_id=own[1], active=own[2], action=own[3], position=position)
        )
    return dict(owners)


def new_event_ids(conn: Connection, count: int) -> Answer[list[int]]:
    """Draw ids for new events, so that rows that point at the events are sent without waiting for an answer."""
    if not count:
        return list
    # OFFSET 0 has the sequence's name looked up once instead of for each id.
    asked = conn.execute(
        """
        SELECT nextval(name) FROM (SELECT pg_get_serial_sequence('events', 'id')::regclass AS name OFFSET 0) sequence,
            generate_series(1, %s)
        """,
        (count,),
    )
    return lambda: [event_id for (event_id,) in asked]


def insert_events(conn: Connection, ids: Sequence[int], events: Sequence[EventRow]) -> None:
    """Insert new events. The caller sorts them by key, so that two recorders never deadlock.

    An event that another recorder inserted meanwhile stays as it is. Then rows that point at our event violate a
    foreign key, and the transaction is to be repeated.
    """
    conn.execute(
        """
        INSERT INTO events (id, company_id, front_id, tenant_id, type, conversation_id, message_id, source,
                            emitted_at, received_at, state, cause, recipients, to_announce)
        OVERRIDING SYSTEM VALUE
        SELECT id, company_id, front_id, tenant_id, type, conversation_id, message_id, source,
               emitted_at, received_at, state, cause, recipients::json, to_announce
        FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],
                    %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::boolean[])
             AS e(id, company_id, front_id, tenant_id, type, conversation_id, message_id, source,
                  emitted_at, received_at, state, cause, recipients, to_announce)
        ON CONFLICT ON CONSTRAINT one_event_per_company DO NOTHING
        """,
        [Bigints(ids), *columns(events, EventRow)],
    )


def known_events(conn: Connection, keys: Iterable[EventKey]) -> dict[EventKey, int]:
    """Return the ids of those events that are recorded."""
    event_keys = list(keys)
    if not event_keys:
        return {}
    rows = conn.execute(
        """
        SELECT e.company_id, e.front_id, e.id
        FROM unnest(%s::text[], %s::text[]) AS k(company_id, front_id) JOIN events e USING (company_id, front_id)
        """,
        (Texts(company_id for company_id, _ in event_keys), Texts(front_id for _, front_id in event_keys)),
    )
    return {(company_id, front_id): event_id for company_id, front_id, event_id in rows}


def insert_deliveries(conn: Connection, deliveries: Sequence[DeliveryRow]) -> None:
    """Insert deliveries. A known one stays as it is: its entry was recorded before, but not deleted yet."""
    if deliveries:
        conn.execute(
            """
            INSERT INTO deliveries (id, event_id, received_at, origin, body)
            SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[], %s::text[], %s::bytea[])
            ON CONFLICT (id) DO NOTHING
            """,
            columns(deliveries, DeliveryRow),
        )


def insert_attachments(conn: Connection, attachments: Sequence[AttachmentRow], *, live_events: Collection[int]) -> None:
    """Insert attachments, each with the task that stores it; nobody waits for their ids.

    The tasks of `live_events` are live.
    """
    if attachments:
        conn.execute(
            """
            WITH inserted AS (
                INSERT INTO attachments (tenant_id, event_id, conversation_id, front_id, filename, content_type,
                                         declared_size, is_inline)
                SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],
                                     %s::bigint[], %s::boolean[])
                RETURNING tenant_id, event_id, id
            )
            INSERT INTO tasks (tenant_id, event_id, kind, attachment_id, state, is_live)
            SELECT tenant_id, event_id, 'store_attachment', id, 'ready', event_id = ANY(%s) FROM inserted
            """,
            (*columns(attachments, AttachmentRow), Bigints(live_events)),
        )


def insert_actions(conn: Connection, actions: Sequence[ActionRow]) -> None:
    """Insert the planned changes. One that may have been sent before a restore has an intent: Front is asked first."""
    if actions:
        conn.execute(
            """
            INSERT INTO actions (event_id, tenant_id, conversation_id, kind, wait_for, state, reason, emitted_at,
                                 dry_run, act_after, intent_at)
            SELECT event_id, tenant_id, conversation_id, kind, wait_for, CASE WHEN unclear THEN 'intent' ELSE state END,
                   reason, emitted_at, dry_run, act_after, CASE WHEN unclear THEN emitted_at END
            FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                        %s::timestamptz[], %s::boolean[], %s::text[])
                 AS a(event_id, tenant_id, conversation_id, kind, wait_for, state, reason, emitted_at, dry_run,
                      act_after)
            CROSS JOIN LATERAL (SELECT state = 'planned' AND NOT dry_run AND emitted_at <=
                                (SELECT max(at) + interval '5 seconds' FROM restores) AS unclear) sent
            """,
            columns(actions, ActionRow),
        )


def insert_tasks(conn: Connection, tasks: Sequence[TaskRow], *, live_events: Collection[int]) -> None:
    """Insert tasks: due now, unless another task will release them or they failed already.

    Those of `live_events` are live.
    """
    if tasks:
        conn.execute(
            """
            INSERT INTO tasks (tenant_id, event_id, kind, due_at, state, code, detail, settled_at, is_live)
            SELECT tenant_id, event_id, kind, CASE WHEN waits THEN 'infinity' ELSE now() END,
                   CASE WHEN failed IS NULL THEN 'ready' ELSE 'failed' END, failed, detail,
                   CASE WHEN failed IS NULL THEN NULL ELSE now() END, event_id = ANY(%s)
            FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::boolean[], %s::text[], %s::text[])
                 AS t(tenant_id, event_id, kind, waits, failed, detail)
            """,
            (Bigints(live_events), *columns(tasks, TaskRow)),
        )


class NewTasks:
    """Inserts tasks in a pipeline, and tells after it which of them its caller sends to the workers."""

    def __init__(self) -> None:
        self._inserted: list[psycopg.Cursor[tuple[int, int | None, str]]] = []

    def insert(self, conn: Connection, tasks: Sequence[TaskRow], *, live_events: Collection[int]) -> None:
        """Insert tasks as `insert_tasks` does. Those that may go at once begin as queued, and are to be sent."""
        if tasks:
            parameters = (*columns(tasks, TaskRow), RESEND_SECONDS, Bigints(live_events))
            self._inserted.append(conn.execute(_INSERT_AND_QUEUE, parameters))

    def results(self) -> tuple[list[int], set[int]]:
        """Return the ids of the tasks to be sent, and the ids of the tenants that have others due."""
        rows = [row for cursor in self._inserted for row in cursor]
        queued = [task_id for task_id, _, state in rows if state == "queued"]
        return queued, {tenant for _, tenant, state in rows if state == "ready" and tenant is not None}


_INSERT_AND_QUEUE = (
    SQL("""
WITH given AS MATERIALIZED (
    SELECT *, failed IS NULL AND NOT waits AND tenant_id IS NOT NULL AS is_due,
           row_number() OVER (PARTITION BY tenant_id ORDER BY event_id) AS tenants_place,
           row_number() OVER (ORDER BY event_id) AS place
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::boolean[], %s::text[], %s::text[])
         AS t(tenant_id, event_id, kind, waits, failed, detail)
), {sendable}, inserted AS (
    INSERT INTO tasks (tenant_id, event_id, kind, due_at, state, sends, lease_until, code, detail, settled_at, is_live)
    SELECT tenant_id, event_id, kind, CASE WHEN waits THEN 'infinity' ELSE now() END, state, (state = 'queued')::int,
           CASE WHEN state = 'queued' THEN now() + make_interval(secs => %s) END, failed, detail,
           CASE WHEN state = 'failed' THEN now() END, event_id = ANY(%s)
    FROM given LEFT JOIN sendable s ON s.id = tenant_id LEFT JOIN free ON true CROSS JOIN LATERAL (
        SELECT CASE WHEN failed IS NOT NULL THEN 'failed'
                    WHEN is_due AND tenants_place <= s.capacity AND place <= free.capacity THEN 'queued'
                    ELSE 'ready' END AS state
    ) chosen
    RETURNING id, tenant_id, CASE WHEN due_at = 'infinity' THEN 'waits' ELSE state END
)
SELECT * FROM inserted
""")
    .format(sendable=SENDABLE)
    .as_bytes()
)


def note_changes(conn: Connection, changed: Iterable[tuple[int, str]], merges: Sequence[Merge]) -> None:
    """Record the merges, and make the waiting actions of all conversations due that changed or were merged.

    `changed` has pairs of tenant id and conversation id. It locks all of them together, so it comes last.
    """
    conversations = {*changed, *((merge.tenant_id, merge.surviving_id) for merge in merges)}
    if conversations:
        lock_conversations(conn, {*conversations, *((merge.tenant_id, merge.merged_id) for merge in merges)})
    for merge in merges:
        _record_merge(conn, merge)
    _make_actions_due(conn, conversations)


def _record_merge(conn: Connection, merge: Merge) -> None:
    """Record the merge, unless Front's answers have told more since: a webhook may be late. It never makes a circle."""
    conn.execute(
        """
        INSERT INTO merged_conversations (tenant_id, conversation_id, merged_into)
        SELECT %(tenant)s, %(merged)s, %(surviving)s
        WHERE surviving_conversation(%(tenant)s, %(surviving)s) <> %(merged)s
        ON CONFLICT (tenant_id, conversation_id) DO NOTHING
        """,
        {"tenant": merge.tenant_id, "merged": merge.merged_id, "surviving": merge.surviving_id},
    )


def _make_actions_due(conn: Connection, changed: Iterable[tuple[int, str]]) -> None:
    for tenant_id, conversation_id in changed:
        conn.execute(
            """
            UPDATE tasks t SET due_at = now() FROM actions a
            WHERE a.tenant_id = %(tenant)s AND a.state = 'planned'
              AND a.conversation_id = ANY(ARRAY(SELECT conversation_family(%(tenant)s, %(conversation)s)))
              AND t.event_id = a.event_id AND t.kind = 'apply_action' AND t.state = 'ready' AND t.due_at = 'infinity'
            """,
            {"tenant": tenant_id, "conversation": conversation_id},
        )


def add_seen_types(conn: Connection, types: Collection[str]) -> set[str]:
    """Store these event types, and return those that are new."""
    rows = conn.execute(
        "INSERT INTO seen_event_types (type) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING RETURNING type",
        (sorted(types),),
    )
    return {event_type for (event_type,) in rows}


def seen_types(conn: Connection) -> list[str]:
    """Return all event types that webhooks have brought."""
    return [event_type for (event_type,) in conn.execute("SELECT type FROM seen_event_types ORDER BY type")]


def mark_in_flight(conn: Connection, entry_ids: Sequence[str]) -> None:
    """Mark these entries as being recorded. Needs no transaction.

    The marks survive the recorder, but not a crash of PostgreSQL: the table is unlogged. So PostgreSQL commits them
    without a wait for its disk.
    """
    conn.execute(
        """
        INSERT INTO in_flight_entries (entry_id) SELECT unnest(%s::text[])
        ON CONFLICT (entry_id) DO UPDATE SET tries = in_flight_entries.tries + 1
        """,
        (Texts(entry_ids),),
    )


def take_back_tries(conn: Connection, entry_ids: Sequence[str]) -> None:
    """Take the last try of these entries back, because the recorder survived it.

    The entries stay marked, so that each is tried alone.
    """
    conn.execute(
        "UPDATE in_flight_entries SET tries = greatest(tries - 1, 0) WHERE entry_id = ANY(%s)", (Texts(entry_ids),)
    )


def unmark_in_flight(conn: Connection, entry_ids: Sequence[str]) -> None:
    """Remove the marks of entries that are recorded."""
    conn.execute("DELETE FROM in_flight_entries WHERE entry_id = ANY(%s)", (Texts(entry_ids),))


def tries_in_flight(conn: Connection) -> dict[str, int]:
    """Return the entries that a recorder left marked, with the number of recorders that died with each."""
    return dict(conn.execute("SELECT entry_id, tries FROM in_flight_entries").fetchall())


def _user(columns: Sequence[Any]) -> MatchedUser | None:
    user_id, external_id, active, action = columns
    if user_id is None:
        return None
    return MatchedUser(user_id=user_id, external_id=external_id, active=active, action=action)
